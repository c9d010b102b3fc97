from __future__ import annotations

import numpy as np
import pytest
from toy_learner import ToyLearner, random_task, toy_checkpoint, toy_sample

from influence_store.influence.formulas import el2n_token
from influence_store.influence.grand import GraNd
from influence_store.schema.sample import Sample

P = np.array([0.7, 0.2, 0.1])
SAMPLE = toy_sample((3, 4), 0)


def _weights(*, bias):
    """Softmax weights that give P at x = (3, 4)."""
    columns = [np.log(P) / 3, np.zeros(3), *([np.zeros(3)] if bias else [])]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize(("bias", "expected"), [(False, 1.870829), (True, 1.907878)])
def test_softmax_regression_has_el2n_times_the_length_of_the_input(bias, expected):
    # methods.md §6/7.6
    learner = ToyLearner(2, 3, bias=bias)
    got = GraNd(learner, [toy_checkpoint(_weights(bias=bias))]).score([SAMPLE]).values["grand"]
    np.testing.assert_allclose(got, expected, atol=1e-6)
    el2n = el2n_token(np.log(P[:1]), np.array([np.sum(P**2)]))
    np.testing.assert_allclose(got, el2n * np.sqrt(25 + bias), rtol=1e-6)


def test_value_is_the_mean_over_checkpoints_and_its_spread_the_sample_deviation():
    learner = ToyLearner(1)
    # ‖g‖ = |w·1 − 0|·1 = 1, 2, 6
    checkpoints = [toy_checkpoint([w]) for w in (1, -2, 6)]
    got = GraNd(learner, checkpoints).score([toy_sample([1], 0)]).values
    np.testing.assert_allclose(got["grand"], 3.0)
    np.testing.assert_allclose(got["grand-sd"], 7**0.5)


def test_one_checkpoint_has_no_spread():
    learner, checkpoints, samples = random_task(0)
    got = GraNd(learner, checkpoints[:1]).score(samples).values
    assert np.isfinite(got["grand"]).all()
    assert np.isnan(got["grand-sd"]).all()


def test_unread_samples_are_nan_and_rows_keep_their_order():
    learner, checkpoints, samples = random_task(1)
    method = GraNd(learner, checkpoints)
    alone = [method.score([sample]).values["grand"][0] for sample in samples]
    got = method.score([samples[0], toy_sample([1] * 6, 1), Sample.of("1", ""), *samples[1:]])
    np.testing.assert_array_equal(got.values["grand"], [alone[0], np.nan, np.nan, *alone[1:]])
    assert got.truncated[:3].tolist() == [False, True, False]
    assert got.n_tokens[:3].tolist() == [1, 0, 0]
