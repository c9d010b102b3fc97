"""Fine-tuning: it learns, repeats bit by bit, and leaves the caller's model alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from influence_store.errors import Incompatible, UsageError
from influence_store.influence.llm import load_llm
from influence_store.schema.sample import Sample
from influence_store.trial.collate import Collator
from influence_store.trial.finetune import train, tuned
from influence_store.trial.generate import generate
from influence_store.trial.measure import response_losses
from influence_store.trial.recipe import RATES, Recipe

ROWS = [("Say a", "a a a"), ("Say b", "b b b"), ("Say c then", "c c c c")]


@pytest.fixture
def rows(tiny):
    return [Collator(tiny, 100).encode(Sample.of(*one)) for one in ROWS]


def before_and_after(llm, rows, recipe, seed=0, steps=8):
    collator = Collator(llm, 100)
    with tuned(collator, recipe, seed) as model:
        before = response_losses(model, rows)
        train(model, [rows] * steps, recipe)
        return before, response_losses(model, rows), model


@pytest.mark.parametrize("tune", RATES)
def test_every_way_learns_and_leaves_the_model_as_it_was(tiny, rows, tune):
    weights = {name: one.clone() for name, one in tiny.model.named_parameters()}
    recipe = Recipe(tune, learning_rate=1e-2)
    before, after, model = before_and_after(tiny, rows, recipe)
    assert after.mean() < before.mean() - 0.05
    for name, one in tiny.model.named_parameters():
        assert torch.equal(one, weights[name]), name
    assert not any(hasattr(one, "lora_A") for one in tiny.model.modules())
    with tuned(Collator(tiny, 100), None, 0) as plain:
        untouched = response_losses(plain, rows)
    # An adapter begins as the model itself; learned vectors in front are never nothing.
    assert (before == pytest.approx(untouched, rel=1e-5)) == (tune != "prompt")
    trained = sum(one.numel() for one in model.weights)
    whole = sum(one.numel() for one in tiny.model.parameters())
    assert trained == whole if tune == "full" else 0 < trained < whole


@pytest.mark.parametrize("tune", ["lora", "prompt"])
def test_the_same_seed_gives_the_same_bits(tiny, rows, tune):
    recipe = Recipe(tune, learning_rate=1e-2)
    first, again, other = (
        before_and_after(tiny, rows, recipe, seed, steps=3)[1] for seed in (0, 0, 1)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_a_step_is_the_mean_over_response_tokens(tiny, rows):
    # One plain gradient step, by hand, on the loss that transformers computes for the batch.
    recipe = Recipe("full", learning_rate=1e-3, clip=1e9, warmup=0.0)
    collator = Collator(tiny, 100)
    batch = collator.batch(rows)
    with tuned(collator, recipe, 0) as model:
        seen = {}
        step = torch.optim.AdamW.step

        def remember(optimizer, *args):
            seen["gradient"] = [one.grad.clone() for one in model.weights]
            return step(optimizer, *args)

        torch.optim.AdamW.step = remember
        try:
            train(model, [rows], recipe)
        finally:
            torch.optim.AdamW.step = step
    with tuned(collator, recipe, 0) as model:
        inputs, labels = torch.from_numpy(batch.inputs), torch.from_numpy(batch.labels)
        model.model(input_ids=inputs, labels=labels).loss.backward()
        for ours, one in zip(seen["gradient"], model.weights, strict=True):
            torch.testing.assert_close(ours, one.grad, rtol=1e-4, atol=1e-6)


def test_what_was_learned_is_written_and_ends(tiny, rows):
    recipe = Recipe("full", learning_rate=2e-2)
    _, after, model = before_and_after(tiny, rows, recipe, steps=40)
    assert after.max() < 0.1
    written = generate(model, rows, max_tokens=20)
    assert written == [answer for _, answer in ROWS]
    assert generate(model, rows, max_tokens=2) == [answer[:2] for _, answer in ROWS]


def test_learned_vectors_write_too(tiny, rows):
    recipe = Recipe("prompt", learning_rate=1e-2)
    with tuned(Collator(tiny, 100), recipe, 0) as model:
        together = generate(model, rows, max_tokens=4)
        assert together == [generate(model, [row], max_tokens=4)[0] for row in rows]


def test_the_rate_rises_and_falls():
    recipe = Recipe("lora", learning_rate=1.0, warmup=0.2)
    rates = [recipe.rate_at(step, 10) for step in range(10)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert np.diff(rates[2:]) == pytest.approx(-1 / 8)
    assert Recipe("ia3").rate == RATES["ia3"]


def test_what_cannot_be_trained_is_refused(tiny, tiny_llm, rows):
    with pytest.raises(Incompatible, match="the loss is"):
        before_and_after(tiny, rows, Recipe("full", learning_rate=1e30))
    coarse = replace(load_llm(tiny_llm, dtype="bfloat16", device="cpu"), name="coarse")
    with pytest.raises(Incompatible, match="too coarse"), tuned(Collator(coarse, 9), Recipe(), 0):
        pass
    for bad in ({"tune": "all"}, {"rank": 0}, {"learning_rate": -1.0}, {"warmup": 2.0}):
        with pytest.raises(UsageError):
            Recipe(**bad)
