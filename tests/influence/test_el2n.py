from __future__ import annotations

import numpy as np
import pytest
from softmax_learner import SoftmaxLearner, checkpoint, predicting

from influence_store.errors import Incompatible
from influence_store.influence.checkpoints import Checkpoint
from influence_store.influence.el2n import El2n, El2nToken
from influence_store.influence.response_pass import ResponseRead
from influence_store.schema.sample import Sample

ORACLE = predicting(0.7, 0.2, 0.1)
SURE = predicting(0.98, 0.01, 0.01, step=2)


def errors(p, gold):
    """‖p − onehot‖₂ from its definition, one per gold class."""
    return np.linalg.norm(np.asarray(p) - np.eye(len(p))[gold], axis=1)


def test_el2n_of_the_worked_example():
    # methods.md §6
    points = El2n(SoftmaxLearner(), [ORACLE]).score([Sample.of("3 4", "0")])
    assert points.values["el2n"][0] == pytest.approx(0.374166, abs=1e-6)
    assert np.isnan(points.values["el2n-sd"][0])
    np.testing.assert_array_equal(points.n_tokens, [1])


def test_el2n_is_the_error_norm_of_any_classifier_and_row():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(3, 3))
    samples = [Sample.of(f"{a} {b}", str(y)) for a, b, y in rng.integers(0, 3, (12, 3))]
    points = El2n(SoftmaxLearner(), [checkpoint(weights)]).score(samples)
    for k, sample in enumerate(samples):
        logits = weights @ np.array([*map(int, sample.prompt.split()), 1])
        p = np.exp(logits) / np.exp(logits).sum()
        expected = errors(p, [int(sample.response)])[0]
        assert points.values["el2n"][k] == pytest.approx(expected, rel=1e-5)


def test_a_response_of_several_tokens_has_their_mean():
    points = El2n(SoftmaxLearner(), [ORACLE]).score([Sample.of("3 4", "0 2 1")])
    expected = errors([0.7, 0.2, 0.1], [0, 2, 1]).mean()
    assert points.values["el2n"][0] == pytest.approx(expected, rel=1e-6)


def test_checkpoints_are_averaged_and_their_spread_is_kept():
    points = El2n(SoftmaxLearner(), [ORACLE, SURE]).score([Sample.of("3 4", "1")])
    each = [errors(p, [1])[0] for p in ([0.7, 0.2, 0.1], [0.98, 0.01, 0.01])]
    assert points.values["el2n"][0] == pytest.approx(np.mean(each), rel=1e-6)
    assert points.values["el2n-sd"][0] == pytest.approx(abs(each[0] - each[1]) / 2**0.5, rel=1e-5)


def test_wrong_and_sure_is_the_upper_bound():
    method = El2n(SoftmaxLearner(), [predicting(1.0 - 2e-9, 1e-9, 1e-9)])
    points = method.score([Sample.of("0 0", "1")])
    assert points.values["el2n"][0] == pytest.approx(method.spec.bounds[1], abs=1e-6)


def test_nothing_to_learn_is_nan_not_zero_and_keeps_its_row():
    learner = SoftmaxLearner()
    samples = [
        Sample.of("1 1", ""),
        Sample.of("1 2 3 4", "0"),
        Sample.of("3 4", "0"),
    ]
    points = El2n(learner, [ORACLE, SURE]).score(samples)
    for column in points.values.values():
        np.testing.assert_array_equal(np.isnan(column), [True, True, False])
    np.testing.assert_array_equal(points.truncated, [False, True, False])
    np.testing.assert_array_equal(points.n_tokens, [0, 0, 1])
    assert learner.ledger.llm_passes == 2


def test_no_sample_at_all_gives_empty_columns():
    points = El2n(SoftmaxLearner(), [ORACLE]).score([])
    assert {output: len(column) for output, column in points.values.items()} == {
        "el2n": 0,
        "el2n-sd": 0,
    }


def test_checkpoints_and_their_number_are_part_of_the_facts():
    learner = SoftmaxLearner()
    one, two = El2n(learner, [ORACLE]), El2n(learner, [ORACLE, SURE])
    assert one.facts != two.facts
    assert one.facts != El2n(learner, [SURE]).facts
    assert one.facts == El2n(learner, [ORACLE]).facts


def test_no_checkpoint_and_one_of_another_model_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        El2n(SoftmaxLearner(), [])
    with pytest.raises(Incompatible, match="9 weights"):
        El2n(SoftmaxLearner(n_classes=5), [ORACLE])


def test_token_form_gives_mean_maximum_and_ninth_decile(tiny):
    p = np.array([0.9, 0.7, 0.5, 0.2, 0.1])
    # Two words in the vocabulary, so that the other one has all the rest: error = √2 (1 − p).
    read = ResponseRead(np.log(p), sum_p2=p**2 + (1 - p) ** 2)
    values = El2nToken(tiny).values(read)
    each = np.sqrt(2) * (1 - p)
    assert values["el2n-token"] == pytest.approx(each.mean())
    assert values["el2n-token-max"] == pytest.approx(np.sqrt(2) * 0.9)
    # Position 0.9 · 4 = 3.6 in order: between the fourth and the fifth.
    assert values["el2n-token-p90"] == pytest.approx(np.sqrt(2) * (0.4 * 0.8 + 0.6 * 0.9))


def test_checkpoint_that_was_never_trained_has_the_token_form(tiny):
    pytest.importorskip("peft", reason="pip install 'influence-store[train]'")
    from influence_store.influence.lora import LoraLm

    learner = LoraLm(tiny, target_modules=None)
    zero = np.zeros(learner.n_parameters, np.float32)
    start = Checkpoint(0, 0.0, learner.weights(), zero, zero)
    samples = [
        Sample.of("Why?", "Because."),
        Sample.of("Say nothing.", ""),
        Sample.of("1 + 2", "3"),
    ]
    tuned = El2n(learner, [start]).score(samples).values["el2n"]
    as_it_comes = El2nToken(tiny).score(samples).values["el2n-token"]
    np.testing.assert_allclose(tuned, as_it_comes, atol=1e-5)
