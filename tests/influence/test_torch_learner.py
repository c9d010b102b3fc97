"""The laws every torch learner owes its methods, shown on LoRA and last-block learners."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_llm import write_tiny_llm

from influence_store.errors import Incompatible, InputError, UsageError
from influence_store.influence.checkpoints import Recipe
from influence_store.influence.training import checkpoint_steps, steps_of
from influence_store.schema.sample import Sample

# Lengths differ, so that a batch has padding.
SAMPLES = [
    Sample.of("2+2?", "It is 4."),
    Sample.of("Name a colour, please", "Blue"),
    Sample.of("Say a", "a"),
    Sample.of("What is the capital of France?", "The capital of France is Paris."),
    Sample.of("Repeat: so so so", "so so so"),
]
QUICK = Recipe(epochs=3, batch_size=2, learning_rate=1e-2, n_checkpoints=2, seed=3)


@pytest.fixture(scope="module", params=["lora", "last-layer"])
def learner(request, tiny):
    from influence_store.influence.lora import LoraLm

    return LoraLm(tiny, trainable=request.param, rank=2)


@pytest.fixture(scope="module")
def readings(learner):
    return [learner.read(sample) for sample in SAMPLES]


@pytest.fixture(scope="module")
def trained(learner, readings):
    return learner.train(readings, QUICK)


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory):
    from influence_store.influence.llm import load_llm

    folder = write_tiny_llm(tmp_path_factory.mktemp("tiny") / "gpt2", "gpt2")
    return load_llm(folder, device="cpu")


@pytest.fixture
def double(tiny_gpt2):
    """A LoRA learner in float64 whose B is not 0. A Llama would go through float32 in its norms."""
    import torch

    from influence_store.influence.lora import LoraLm

    made = LoraLm(tiny_gpt2, rank=2, target_modules=None)
    made.module.double()
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for p in made.trainable.values():
            p.add_(torch.from_numpy(0.1 * rng.normal(size=p.shape)))
    return made


def _loss(learner, readings):
    return float(np.mean([-one.logp.mean() for one in learner.stats(readings)]))


def _moved(learner, direction, by):
    import torch

    with torch.no_grad():
        start = 0
        for p in learner.trainable.values():
            part = direction[start : start + p.numel()].reshape(tuple(p.shape))
            p.add_(torch.from_numpy(part * by))
            start += p.numel()


def _slope(learner, direction, measure, by=1e-5):
    """Central difference of `measure()` along a flat direction."""
    _moved(learner, direction, by)
    up = measure()
    _moved(learner, direction, -2 * by)
    down = measure()
    _moved(learner, direction, by)
    return (up - down) / (2 * by)


def test_gradient_is_the_slope_of_the_loss_in_every_direction(double):
    reading = double.read(SAMPLES[3])
    (gradient,) = double.gradients([reading])
    rng = np.random.default_rng(0)

    for direction in rng.normal(size=(5, double.n_parameters)):
        slope = _slope(double, direction, lambda: _loss(double, [reading]))
        assert gradient @ direction == pytest.approx(slope, rel=1e-5)


def test_flat_order_is_that_of_the_named_parameters(double):
    import torch

    reading = double.read(SAMPLES[0])
    (gradient,) = double.gradients([reading])
    rng = np.random.default_rng(0)
    start = 0
    for name in double.parameter_names:
        parameter = double.module.get_parameter(name)
        direction = rng.normal(size=tuple(parameter.shape))
        losses = []
        with torch.no_grad():
            for by in (1e-5, -2e-5, 1e-5):
                parameter.add_(torch.from_numpy(by * direction))
                losses.append(_loss(double, [reading]))
        part = gradient[start : start + direction.size].reshape(direction.shape)
        slope = (losses[0] - losses[1]) / 2e-5
        assert (part * direction).sum() == pytest.approx(slope, rel=1e-4, abs=1e-6), name
        start += direction.size
    assert start == double.n_parameters


def test_hessian_product_is_the_slope_of_the_mean_gradient(double):
    double.batch_tokens = 80
    readings = [double.read(sample) for sample in SAMPLES]
    direction = np.random.default_rng(0).normal(size=double.n_parameters)

    def mean_gradient():
        return np.mean([g.astype(np.float64) for g in double.gradients(readings)], axis=0)

    slope = _slope(double, direction, mean_gradient, by=1e-4)
    product = double.hessian_product(readings, direction)

    np.testing.assert_allclose(product, slope, rtol=1e-3, atol=1e-3 * np.abs(slope).max())


def test_input_gradient_is_the_slope_of_the_gold_logits(double):
    import torch

    reading = double.read(SAMPLES[1])
    (gradient,) = double.gold_logit_input_gradients([reading])
    direction = np.random.default_rng(0).normal(size=gradient.shape)
    step = torch.from_numpy(direction)[None]

    def total(by):
        handle = double.embedding.register_forward_hook(lambda _m, _i, out: out + by * step)
        try:
            with torch.no_grad():
                return double.gold_logits([reading]).picked.sum().item()
        finally:
            handle.remove()

    assert gradient.shape == (double.n_read(reading), 32)
    slope = (total(1e-5) - total(-1e-5)) / 2e-5
    assert (gradient * direction).sum() == pytest.approx(slope, rel=1e-5)


def test_norms_are_those_of_the_full_gradients(learner, readings, trained):
    with learner.at(trained[-1]):
        gradients = np.stack(list(learner.gradients(readings)))
        norms = learner.gradient_norms(readings)

    np.testing.assert_allclose(norms, np.linalg.norm(gradients, axis=1), rtol=1e-5)


def test_results_do_not_depend_on_order_or_batch_mates(learner, readings, trained):
    order = [3, 0, 4, 2, 1]
    with learner.at(trained[-1]):
        together = list(learner.gradients(readings))
        shuffled = list(learner.gradients([readings[k] for k in order]))
        alone = [next(iter(learner.gradients([reading]))) for reading in readings]
        inputs = list(learner.gold_logit_input_gradients(readings))
        stats = learner.stats(readings)
        shuffled_stats = learner.stats([readings[k] for k in order])

    largest = max(np.abs(gradient).max() for gradient in alone)
    for k, reading in enumerate(readings):
        np.testing.assert_allclose(together[k], alone[k], atol=1e-5 * largest)
        np.testing.assert_allclose(shuffled[order.index(k)], alone[k], atol=1e-5 * largest)
        np.testing.assert_allclose(
            shuffled_stats[order.index(k)].logp, stats[k].logp, rtol=1e-5, atol=1e-6
        )
        assert inputs[k].shape[0] == learner.n_read(reading)


def test_windows_of_gradients_keep_the_order(monkeypatch, learner, readings):
    from influence_store.influence import torch_learner

    whole = list(learner.gradients(readings))
    monkeypatch.setattr(torch_learner, "_HELD_FLOATS", 2 * learner.n_parameters)
    for a, b in zip(learner.gradients(readings), whole, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max())


def test_a_layer_called_twice_has_the_sum_of_both_gradients():
    import torch

    from influence_store.influence.ghost import LinearTraces

    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 3)
    inputs = torch.randn(4, 5, 3)

    def losses():
        return layer(layer(inputs).tanh()).square().sum(dim=(1, 2))

    traces = LinearTraces.of(layer, dict(layer.named_parameters()))
    with traces.recording():
        recorded = losses()
    norms = traces.norms(recorded)

    expected = []
    for loss in losses():
        weight, bias = torch.autograd.grad(loss, [layer.weight, layer.bias], retain_graph=True)
        expected.append(float((weight.square().sum() + bias.square().sum()).sqrt()))
    np.testing.assert_allclose(norms, expected, rtol=1e-5)


@pytest.mark.parametrize("width", [2, 40])
def test_both_ways_to_a_ghost_norm_agree_with_the_formula(width):
    import torch

    from influence_store.influence.ghost import _square

    torch.manual_seed(0)
    a, b = torch.randn(3, 6, width), torch.randn(3, 6, width)
    expected = [float((b[k].T @ a[k]).square().sum()) for k in range(3)]
    np.testing.assert_allclose(_square(a, b).numpy(), expected, rtol=1e-5)


def test_norm_layers_are_never_taken_for_linear_ones(tiny):
    from influence_store.influence.ghost import LinearTraces
    from influence_store.influence.lora import LoraLm

    block = LoraLm(tiny, trainable="last-layer")
    adapter = LoraLm(tiny)

    assert LinearTraces.of(block.module, block.trainable) is None
    assert LinearTraces.of(adapter.module, adapter.trainable) is not None


def test_weights_return_even_when_something_fails_inside(learner, trained):
    before = learner.weights()

    def fail():
        with learner.at(trained[0]):
            np.testing.assert_array_equal(learner.weights(), trained[0].weights)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    np.testing.assert_array_equal(learner.weights(), before)


def test_checkpoint_of_another_learner_is_refused(learner, trained):
    short = replace(trained[0], weights=trained[0].weights[:-1])
    with pytest.raises(Incompatible, match="weights of shape"), learner.at(short):
        pass


def test_reading_without_gold_is_refused_and_not_counted(learner, readings):
    empty = replace(readings[0], gold=readings[0].gold[:0])
    passes = learner.ledger.llm_passes
    for measure in (learner.stats, learner.gradient_norms, lambda r: list(learner.gradients(r))):
        with pytest.raises(ValueError, match="no loss"):
            measure([empty])
    assert learner.ledger.llm_passes == passes


def test_ledger_counts_passes_and_unpadded_tokens(tiny):
    from influence_store.influence.lora import LoraLm

    learner = LoraLm(tiny, rank=2)
    readings = [learner.read(sample) for sample in SAMPLES]
    tokens = sum(len(r.context) + len(r.gold) - 1 for r in readings)
    n = len(readings)

    def spent(measure):
        before = learner.ledger.llm_passes, learner.ledger.llm_tokens
        measure()
        return learner.ledger.llm_passes - before[0], learner.ledger.llm_tokens - before[1]

    vector = np.ones(learner.n_parameters, np.float32)
    assert spent(lambda: learner.stats(readings)) == (n, tokens)
    assert spent(lambda: list(learner.gradients(readings))) == (n, tokens)
    assert spent(lambda: learner.gradient_norms(readings)) == (n, tokens)
    assert spent(lambda: list(learner.gold_logit_input_gradients(readings))) == (n, tokens)
    assert spent(lambda: learner.hessian_product(readings, vector)) == (2 * n, 2 * tokens)
    assert spent(lambda: learner.train(readings, QUICK)) == (3 * n, 3 * tokens)


# -- training ----------------------------------------------------------------------------------


def test_training_twice_gives_the_same_bytes(learner, readings, trained):
    # What happened to the learner before must not matter either.
    with learner.at(trained[-1]):
        again = learner.train(readings, QUICK)
    assert [c.sha256 for c in again] == [c.sha256 for c in trained]


def test_another_seed_is_another_run(learner, readings, trained):
    other = learner.train(readings, replace(QUICK, seed=4))
    assert other[-1].sha256 != trained[-1].sha256


def test_training_lowers_the_loss_and_leaves_the_learner_untrained(learner, readings, trained):
    before = _loss(learner, readings)
    with learner.at(trained[-1]):
        assert _loss(learner, readings) < before - 0.5
    np.testing.assert_array_equal(learner.weights(), learner.untrained)


def test_first_step_of_adam_follows_the_formula(learner, readings):
    """One step without warm-up: m = (1 − β1) g, v = (1 − β2) g², Δθ = −lr g / (|g| + ε)."""
    recipe = Recipe(
        epochs=1, batch_size=5, learning_rate=1e-3, warmup_ratio=0.0, n_checkpoints=1, beta1=0.8
    )
    g = np.mean(list(learner.gradients(readings)), axis=0)
    (after,) = learner.train(readings, recipe)

    # The mean over samples of per-token means, in the order of parameter_names.
    np.testing.assert_allclose(after.exp_avg, 0.2 * g, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(after.exp_avg_sq, 0.001 * g**2, rtol=2e-3, atol=1e-9)
    clear = np.abs(g) > 1e-4
    np.testing.assert_allclose(
        (after.weights - learner.untrained)[clear], -1e-3 * np.sign(g[clear]), rtol=1e-2
    )
    assert (after.step, after.learning_rate, after.beta1) == (1, 1e-3, 0.8)


def test_a_batch_split_for_memory_is_the_same_step(tiny):
    from influence_store.influence.lora import LoraLm

    wide, narrow = LoraLm(tiny, rank=2), LoraLm(tiny, rank=2, batch_tokens=1)
    recipe = replace(QUICK, batch_size=5, n_checkpoints=1, epochs=1)
    readings = [wide.read(sample) for sample in SAMPLES]
    (a,), (b,) = wide.train(readings, recipe), narrow.train(readings, recipe)
    np.testing.assert_allclose(a.exp_avg, b.exp_avg, rtol=1e-3, atol=1e-7)


def test_rates_are_means_since_the_checkpoint_before(learner, readings):
    # 6 steps, 2 of warm-up: the rates are 0, 1/2, 1, 3/4, 1/2, 1/4 of the peak.
    recipe = Recipe(epochs=2, batch_size=2, learning_rate=4e-3, warmup_ratio=0.3, n_checkpoints=3)
    kept = learner.train(readings, recipe)
    assert [c.step for c in kept] == [2, 4, 6]
    np.testing.assert_allclose([c.learning_rate for c in kept], [1e-3, 3.5e-3, 1.5e-3])


def test_blind_training_never_sees_a_prompt(learner, readings):
    blind = replace(QUICK, blind=True, n_checkpoints=1)
    others = [
        learner.read(Sample.of("something quite different", sample.response)) for sample in SAMPLES
    ]
    assert learner.train(readings, blind)[0].sha256 == learner.train(others, blind)[0].sha256


def test_checkpoints_are_spread_evenly_and_end_at_the_last_step():
    recipe = Recipe(epochs=1.5, batch_size=4, n_checkpoints=4)
    assert steps_of(recipe, 9) == 4  # 3 batches an epoch
    assert checkpoint_steps(recipe, 4) == {1, 2, 3, 4}
    assert checkpoint_steps(recipe, 10) == {2, 5, 7, 10}


def test_more_checkpoints_than_steps_is_refused_before_any_pass(learner, readings):
    passes = learner.ledger.llm_passes
    with pytest.raises(UsageError, match="7 checkpoints from a run of 3 steps"):
        learner.train(readings, Recipe(epochs=1, batch_size=2, n_checkpoints=7))
    assert learner.ledger.llm_passes == passes


def test_rows_without_gold_are_no_training_rows(learner, readings):
    empty = replace(readings[0], gold=readings[0].gold[:0])
    with pytest.raises(InputError, match="1 of 6 training rows"):
        learner.train([*readings, empty], QUICK)
    with pytest.raises(InputError, match="0 of 0"):
        learner.train([], QUICK)


def test_a_loss_that_is_no_number_stops_the_run(learner, readings):
    before = learner.weights()
    with pytest.raises(Incompatible, match="broke down at step"):
        learner.train(readings, replace(QUICK, learning_rate=1e30, warmup_ratio=0.0, epochs=20))
    np.testing.assert_array_equal(learner.weights(), before)
