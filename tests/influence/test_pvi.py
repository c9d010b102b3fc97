from __future__ import annotations

import numpy as np
import pytest
from softmax_learner import SoftmaxLearner, predicting, with_slope

from influence_store.errors import Incompatible
from influence_store.influence.checkpoints import Checkpoint
from influence_store.influence.formulas import ifd
from influence_store.influence.pvi import Pvi, PviZeroShot
from influence_store.influence.response_pass import ResponseRead
from influence_store.schema.identity import sample_id
from influence_store.schema.sample import Sample

# methods.md §10: g(y | x) = .8 or .1, g∅(y) = .25 for both labels
GIVEN = predicting(0.8, 0.1, 0.1)
# The null model would be far off if it saw the prompt.
NULL = with_slope(predicting(0.25, 0.25, 0.5), [3.0, -5.0, 1.0])
EASY, SUSPECT = Sample.of("3 4", "0"), Sample.of("3 4", "1")


def pvi(learner=None, given=(GIVEN,), null=(NULL,), seen=frozenset()):
    return Pvi(learner or SoftmaxLearner(), given, null_checkpoints=null, seen=seen)


def test_pvi_of_the_worked_examples():
    points = pvi().score([EASY, SUSPECT])
    np.testing.assert_allclose(points.values["pvi"], [1.678072, -1.321928], atol=1e-6)
    np.testing.assert_array_equal(points.values["pvi"], points.values["pvi-per-token"])


def test_pvi_of_a_response_is_the_sum_over_its_tokens_and_per_token_the_mean():
    points = pvi().score([Sample.of("3 4", "0 1 0")])
    total = 1.678072 - 1.321928 + 1.678072
    assert points.values["pvi"][0] == pytest.approx(total, abs=2e-6)
    assert points.values["pvi-per-token"][0] == pytest.approx(total / 3, abs=1e-6)
    np.testing.assert_array_equal(points.n_tokens, [3])


def test_pvi_is_at_most_the_surprise_of_the_null_model():
    points = pvi(given=[predicting(1.0 - 2e-9, 1e-9, 1e-9)]).score([EASY])
    assert points.values["pvi"][0] == pytest.approx(2.0, abs=1e-6)


def test_only_the_last_checkpoint_of_either_list_counts():
    other = predicting(0.1, 0.1, 0.8, step=0)
    assert pvi(given=[other, GIVEN], null=[other, NULL]).facts == pvi().facts
    points = pvi(given=[other, GIVEN], null=[other, NULL]).score([EASY])
    assert points.values["pvi"][0] == pytest.approx(1.678072, abs=1e-6)


def test_seen_sample_is_nan_though_it_was_read_and_costs_nothing():
    learner = SoftmaxLearner()
    points = pvi(learner, seen=frozenset([sample_id(EASY)])).score([EASY, SUSPECT])
    np.testing.assert_allclose(points.values["pvi"], [np.nan, -1.321928], atol=1e-6)
    np.testing.assert_allclose(points.values["pvi-per-token"], [np.nan, -1.321928], atol=1e-6)
    np.testing.assert_array_equal(points.n_tokens, [1, 1])
    assert not points.truncated.any()
    assert learner.ledger.llm_passes == 2


def test_empty_and_too_long_samples_are_nan_for_two_reasons():
    points = pvi().score([Sample.of("1 1", ""), Sample.of("1 2 3 4", "0"), EASY])
    for column in points.values.values():
        np.testing.assert_array_equal(np.isnan(column), [True, True, False])
    np.testing.assert_array_equal(points.truncated, [False, True, False])
    np.testing.assert_array_equal(points.n_tokens, [0, 0, 1])


def test_all_seen_gives_a_column_of_nan():
    everything = frozenset(map(sample_id, (EASY, SUSPECT)))
    points = pvi(seen=everything).score([EASY, SUSPECT])
    assert np.isnan(points.values["pvi"]).all()


def test_seen_rows_and_both_models_are_part_of_the_facts():
    a, b = sample_id(EASY), sample_id(SUSPECT)
    assert pvi(seen=frozenset([a])).facts != pvi().facts
    assert pvi(given=[NULL]).facts != pvi().facts
    assert pvi(null=[GIVEN]).facts != pvi().facts
    assert pvi(seen=frozenset([a, b])).facts == pvi(seen=frozenset([b, a])).facts


def test_a_missing_model_and_one_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        pvi(null=[])
    with pytest.raises(Incompatible, match="9 weights"):
        pvi(SoftmaxLearner(n_classes=4))


def test_zero_shot_pvi_of_the_worked_example_is_one_bit(tiny):
    # methods.md §0.2
    read = ResponseRead(np.log([0.5, 0.25]), np.log([0.25, 0.25]))
    values = PviZeroShot(tiny).values(read)
    assert values["pvi-zero-shot"] == pytest.approx(1.0)
    assert values["pvi-zero-shot-per-token"] == pytest.approx(0.5)
    assert ifd(read.logp, read.logp_alone) == pytest.approx(2 ** -values["pvi-zero-shot-per-token"])


def test_pair_that_was_never_trained_has_its_zero_shot_pvi(tiny):
    pytest.importorskip("peft", reason="pip install 'influence-store[train]'")
    from influence_store.influence.lora import LoraLm

    learner = LoraLm(tiny, target_modules=None)
    zero = np.zeros(learner.n_parameters, np.float32)
    start = Checkpoint(0, 0.0, learner.weights(), zero, zero)
    samples = [Sample.of("Why?", "Because."), Sample.of("Say nothing.", ""), EASY]
    tuned = pvi(learner, given=[start], null=[start]).score(samples)
    as_it_comes = PviZeroShot(tiny).score(samples)
    for ours, theirs in zip(tuned.values.values(), as_it_comes.values.values(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    np.testing.assert_array_equal(tuned.n_tokens, as_it_comes.n_tokens)
