"""An encoder with a class head: its losses, gradients and training, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_encoder import FRUIT, NUMBERS, write_tiny_encoder

from influence_store.errors import UsageError
from influence_store.influence.checkpoints import Recipe
from influence_store.influence.classifier import EncoderClassifier, classes_of
from influence_store.influence.el2n import El2n
from influence_store.influence.encoder import load_encoder
from influence_store.schema.sample import Sample

CLASSES = ("fruit", "number", "other")
SAMPLES = [
    Sample.of("apple", "fruit"),
    Sample.of("what is seven and two or three", "number"),
    Sample.of("a pear with the lemon and the plum is the fruit of what", " fruit\n"),
    Sample.of("one", "other"),
]
HOW = ("head", "last-layer", "all")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_encoder(tmp_path_factory.mktemp("encoder") / "bert")


@pytest.fixture
def encoder(folder):
    return load_encoder(folder, device="cpu")


def readings_of(learner, samples=SAMPLES):
    return [learner.read(sample) for sample in samples]


def plain_average(model, text_ids):
    """What the encoder makes of one text, without padding, mask or our code."""
    ids = torch.from_numpy(text_ids)[None]
    return model(ids).last_hidden_state[0].mean(dim=0)


def in_double(learner):
    learner.module.double()
    return learner


def test_class_is_the_response_without_space_around_it(encoder):
    learner = EncoderClassifier(encoder, CLASSES)
    assert [list(reading.gold) for reading in readings_of(learner)] == [[0], [1], [0], [2]]


def test_unknown_class_and_empty_response_have_nothing_to_learn(encoder):
    learner = EncoderClassifier(encoder, CLASSES)
    for response in ("vegetable", "", "Fruit"):
        reading = learner.read(Sample.of("apple", response))
        assert not reading.usable
        assert not reading.truncated


def test_long_text_is_truncated_and_never_cut(encoder):
    learner = EncoderClassifier(encoder, CLASSES)
    fits, long = (learner.read(Sample.of("pear " * n, "fruit")) for n in (30, 31))
    assert fits.usable
    assert (long.usable, long.truncated, len(long.context)) == (False, True, 33)


def test_classes_are_the_sorted_distinct_responses():
    samples = [Sample.of("q", response) for response in ("b", " a", "b\n", "", "c")]
    assert classes_of(samples) == ("a", "b", "c")


@pytest.mark.parametrize("n", [0, 1, 1001])
def test_responses_that_are_no_labels_are_refused(n):
    with pytest.raises(UsageError, match=f"{n:,} different responses.*class labels are 2 to 1,000"):
        classes_of([Sample.of("q", f"answer {k}") for k in range(n)])


@pytest.mark.parametrize("classes", [("a",), ("a", "b", "a")])
def test_classes_that_cannot_be_numbered_are_refused(encoder, classes):
    with pytest.raises(ValueError, match="of them different"):
        EncoderClassifier(encoder, classes)


def test_unknown_part_to_train_is_refused(encoder):
    with pytest.raises(ValueError, match="head, last-layer, all, not 'first'"):
        EncoderClassifier(encoder, CLASSES, trainable="first")


@pytest.mark.parametrize("how", HOW)
def test_scores_are_those_of_a_plain_forward_pass(encoder, how):
    learner = EncoderClassifier(encoder, CLASSES, trainable=how, seed=3)
    head = learner.module["head"]
    readings = readings_of(learner)
    for reading, found in zip(readings, learner.stats(readings), strict=True):
        p = torch.softmax(head(plain_average(encoder.model, reading.context)), dim=0).detach()
        np.testing.assert_allclose(np.exp(found.logp), [p[reading.gold[0]]], rtol=1e-5)
        np.testing.assert_allclose(found.sum_p2, [(p**2).sum()], rtol=1e-5)
        assert list(found.hit) == [int(p.argmax()) == reading.gold[0]]


@pytest.mark.parametrize("how", HOW)
def test_batch_and_order_change_no_value(encoder, how):
    readings = readings_of(EncoderClassifier(encoder, CLASSES))
    order = [2, 0, 3, 1]
    one, all_ = (
        EncoderClassifier(encoder, CLASSES, trainable=how, batch_tokens=n) for n in (1, 10_000)
    )
    values = [[s.logp[0] for s in learner.stats(readings)] for learner in (one, all_)]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-5)
    norms = one.gradient_norms(readings)
    shuffled = all_.gradient_norms([readings[k] for k in order])
    np.testing.assert_allclose(shuffled, norms[order], rtol=1e-4)


def test_blind_scores_know_the_class_only(encoder):
    learner = EncoderClassifier(encoder, CLASSES)
    blind = [s.logp[0] for s in learner.stats(readings_of(learner), blind=True)]
    empty = learner.stats([learner.read(Sample.of("", name)) for name in ("fruit", "number")])
    assert blind[0] == blind[2] == pytest.approx(empty[0].logp[0], rel=1e-6)
    assert blind[1] == pytest.approx(empty[1].logp[0], rel=1e-6)


@pytest.mark.parametrize("how", HOW)
def test_gradient_is_the_slope_of_the_loss(encoder, how):
    learner = in_double(EncoderClassifier(encoder, CLASSES, trainable=how))
    rng = np.random.default_rng(0)
    readings = readings_of(learner)
    for reading, gradient in zip(readings, learner.gradients(readings), strict=True):
        direction = rng.normal(size=learner.n_parameters)

        def loss(step, reading=reading, direction=direction):
            move(learner, step * direction)
            value = learner.gold_logits([reading]).losses.item()
            move(learner, -step * direction)
            return value

        slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
        assert gradient.astype(np.float64) @ direction == pytest.approx(slope, rel=1e-4, abs=1e-6)


def move(learner, by):
    ends = np.cumsum([p.numel() for p in learner.trainable.values()])[:-1]
    with torch.no_grad():
        for p, part in zip(learner.trainable.values(), np.split(by, ends), strict=True):
            p += torch.from_numpy(part).view_as(p)


@pytest.mark.parametrize("how", HOW)
def test_norm_is_that_of_the_gradient(encoder, how):
    learner = EncoderClassifier(encoder, CLASSES, trainable=how)
    readings = readings_of(learner)
    whole = [np.linalg.norm(gradient) for gradient in learner.gradients(readings)]
    np.testing.assert_allclose(learner.gradient_norms(readings), whole, rtol=1e-4)


def test_norm_of_the_head_is_el2n_times_the_length_of_its_input(encoder):
    learner = EncoderClassifier(encoder, CLASSES, trainable="head")
    checkpoint = learner.train(readings_of(learner), Recipe(epochs=1, n_checkpoints=1))[0]
    el2n = El2n(learner, [checkpoint]).score(SAMPLES).values["el2n"]
    readings = readings_of(learner)
    lengths = np.array(
        [float(plain_average(encoder.model, r.context).square().sum()) for r in readings]
    )
    with learner.at(checkpoint):
        norms = learner.gradient_norms(readings)
    np.testing.assert_allclose(norms, el2n * np.sqrt(lengths + 1.0), rtol=1e-4)


def test_el2n_is_the_distance_of_the_class_probabilities_to_the_label(encoder):
    learner = EncoderClassifier(encoder, CLASSES)
    checkpoint = learner.train(readings_of(learner), Recipe(epochs=1, n_checkpoints=1))[0]
    found = El2n(learner, [checkpoint]).score(SAMPLES).values["el2n"]
    with learner.at(checkpoint), torch.no_grad():
        model, head = learner.module["encoder"], learner.module["head"]
        for sample, value in zip(SAMPLES, found, strict=True):
            reading = learner.read(sample)
            error = torch.softmax(head(plain_average(model, reading.context)), dim=0)
            error[reading.gold[0]] -= 1.0
            assert value == pytest.approx(float(error.norm()), rel=1e-4)


@pytest.mark.parametrize("how", HOW)
def test_hessian_product_is_the_change_of_the_gradient(encoder, how):
    learner = in_double(EncoderClassifier(encoder, CLASSES, trainable=how))
    readings = readings_of(learner)
    direction = np.random.default_rng(1).normal(size=learner.n_parameters)
    product = learner.hessian_product(readings, direction.astype(np.float32))
    step = 1e-4

    def gradient(sign):
        move(learner, sign * step * direction)
        mean = np.mean([g.astype(np.float64) for g in learner.gradients(readings)], axis=0)
        move(learner, -sign * step * direction)
        return mean

    change = (gradient(1.0) - gradient(-1.0)) / (2.0 * step)
    assert np.linalg.norm(product - change) <= 5e-3 * np.linalg.norm(change)


@pytest.mark.parametrize("how", HOW)
def test_input_gradient_is_that_of_the_class_logit_to_the_word_embeddings(encoder, how):
    learner = EncoderClassifier(encoder, CLASSES, trainable=how)
    readings = readings_of(learner)
    learner.stats(readings)  # A remembered average must not stand in for the path to the words.
    for reading, found in zip(readings, learner.gold_logit_input_gradients(readings), strict=True):
        model, head = learner.module["encoder"], learner.module["head"]
        words = model.get_input_embeddings()(torch.from_numpy(reading.context)[None])
        words = words.detach().requires_grad_()
        average = model(inputs_embeds=words).last_hidden_state[0].mean(dim=0)
        (wanted,) = torch.autograd.grad(head(average)[reading.gold[0]], words)
        assert found.shape == (len(reading.context), encoder.dim)
        np.testing.assert_allclose(found, wanted[0], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("how", HOW)
def test_training_repeats_bit_for_bit_and_learns(encoder, how):
    samples = [Sample.of(f"what is {w}", "fruit") for w in FRUIT]
    samples += [Sample.of(f"what is {w} and one", "number") for w in NUMBERS]
    recipe = Recipe(epochs=6, batch_size=4, learning_rate=2e-2, n_checkpoints=2, seed=5)
    first = EncoderClassifier(encoder, CLASSES, trainable=how, seed=1)
    readings = readings_of(first, samples)
    before = np.mean([s.logp[0] for s in first.stats(readings)])
    runs = [first.train(readings, recipe), first.train(readings, recipe)]
    # A learner that has read nothing before, and reads in another order.
    runs.append(EncoderClassifier(encoder, CLASSES, trainable=how, seed=1).train(readings, recipe))
    for run in runs[1:]:
        assert [one.sha256 for one in run] == [one.sha256 for one in runs[0]]
    with first.at(runs[0][-1]):
        assert np.mean([s.logp[0] for s in first.stats(readings)]) > before + 0.3
    assert np.mean([s.logp[0] for s in first.stats(readings)]) == pytest.approx(before, abs=1e-6)


@pytest.mark.parametrize("how", HOW)
def test_encoder_of_the_caller_stays_as_it_is(encoder, how):
    before = {name: p.clone() for name, p in encoder.model.named_parameters()}
    learner = EncoderClassifier(encoder, CLASSES, trainable=how)
    other = EncoderClassifier(encoder, CLASSES, trainable="head")
    readings = readings_of(learner)
    untouched = [s.logp[0] for s in other.stats(readings)]
    (checkpoint,) = learner.train(readings, Recipe(epochs=1, learning_rate=1.0, n_checkpoints=1))
    with learner.at(checkpoint):
        fresh = EncoderClassifier(encoder, CLASSES, trainable="head").stats(readings)
        assert [s.logp[0] for s in fresh] == untouched
        for name, p in encoder.model.named_parameters():
            assert torch.equal(p, before[name])
            assert not p.requires_grad


def test_frozen_weights_are_shared_and_not_copied(encoder):
    learner = EncoderClassifier(encoder, CLASSES, trainable="last-layer")
    theirs = dict(encoder.model.named_parameters())
    for name, p in learner.module["encoder"].named_parameters():
        assert (p is theirs[name]) != name.startswith("encoder.layer.1.")
    assert [name for name in learner.parameter_names if "encoder.layer.1." not in name] == [
        "head.weight",
        "head.bias",
    ]


def test_remembered_texts_are_not_paid_twice(encoder):
    head, block = (EncoderClassifier(encoder, CLASSES, trainable=how) for how in HOW[:2])
    readings = readings_of(head)
    n_tokens = sum(len(reading.context) for reading in readings)
    for learner in (head, block):
        learner.stats(readings)
        learner.gradient_norms(readings)
    assert (head.ledger.llm_passes, head.ledger.llm_tokens) == (4, n_tokens)
    assert (block.ledger.llm_passes, block.ledger.llm_tokens) == (8, 2 * n_tokens)
    list(head.gold_logit_input_gradients(readings))
    assert head.ledger.llm_passes == 8


def test_unusable_reading_has_no_loss(encoder):
    learner = EncoderClassifier(encoder, CLASSES, trainable="head")
    learner.stats(readings_of(learner))
    with pytest.raises(ValueError, match="no loss"):
        learner.stats([learner.read(Sample.of("apple", "unheard of"))])


def test_facts_hold_what_decides_a_value_and_nothing_else(encoder):
    def facts(classes=CLASSES, **kwargs):
        return EncoderClassifier(encoder, classes, **kwargs).facts

    assert facts() == facts(batch_tokens=7)
    for other in (facts(seed=1), facts(trainable="head"), facts(CLASSES[::-1])):
        assert other != facts()
    assert facts()["encoder"] == encoder.facts


def test_head_differs_by_seed_only(encoder):
    a, b, c = (EncoderClassifier(encoder, CLASSES, seed=seed).weights() for seed in (0, 0, 1))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
