from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from tiny_llm import write_tiny_llm

from influence_store.errors import Incompatible
from influence_store.influence.checkpoints import Checkpoint, Recipe
from influence_store.influence.formulas import mean_logp
from influence_store.influence.prompts import DELIFT_TEMPLATE, Prompter, Template
from influence_store.influence.scorer import Request, ResponseScorer
from influence_store.protocols import Ledger
from influence_store.schema.sample import Sample

SAMPLES = [
    Sample.of("2+2?", "It is 4."),
    Sample.of("Name a colour, please", "Blue"),
    Sample.of("What is the capital of France?", "The capital of France is Paris."),
]


@pytest.fixture(scope="module")
def lora(tiny):
    from influence_store.influence.lora import LoraLm

    return LoraLm(tiny, rank=2)


def _scores(llm, requests):
    return ResponseScorer(llm).score(requests, sum_p2=True)


def test_untrained_adapter_scores_as_the_llm_does(tiny, lora):
    prompter = Prompter(tiny, DELIFT_TEMPLATE)
    expected = _scores(tiny, [Request(prompter.alone(s), prompter.response(s)) for s in SAMPLES])

    for one, other in zip(lora.stats([lora.read(s) for s in SAMPLES]), expected, strict=True):
        np.testing.assert_allclose(one.logp, other.logp, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(one.sum_p2, other.sum_p2, rtol=1e-5, atol=1e-7)


def test_hits_are_the_argmax_of_a_plain_forward_pass(tiny, lora):
    import torch

    for sample in SAMPLES:
        reading = lora.read(sample)
        ids = np.concatenate([reading.context, reading.gold])
        with torch.no_grad():
            logits = tiny.model(torch.from_numpy(ids[None])).logits[0]
        guesses = logits.argmax(dim=-1).numpy()[len(reading.context) - 1 : -1]
        (stats,) = lora.stats([reading])
        np.testing.assert_array_equal(stats.hit, (guesses == reading.gold).astype(np.int64))


def test_blind_scores_the_response_after_a_single_eos(tiny, lora):
    readings = [lora.read(sample) for sample in SAMPLES]
    start = np.array([tiny.eos_id], np.int64)
    expected = _scores(tiny, [Request(start, reading.gold) for reading in readings])

    for one, other in zip(lora.stats(readings, blind=True), expected, strict=True):
        np.testing.assert_allclose(one.logp, other.logp, rtol=1e-5, atol=1e-6)


def test_before_training_only_b_has_a_gradient(lora):
    (gradient,) = lora.gradients([lora.read(SAMPLES[0])])
    start, largest = 0, {"lora_A": 0.0, "lora_B": 0.0}
    for name, parameter in lora.trainable.items():
        part = gradient[start : start + parameter.numel()]
        side = "lora_A" if "lora_A" in name else "lora_B"
        largest[side] = max(largest[side], float(np.abs(part).max()))
        start += parameter.numel()
    assert largest["lora_A"] == 0.0
    assert largest["lora_B"] > 0.0


@pytest.mark.parametrize("trainable", ["lora", "last-layer"])
def test_the_callers_llm_stays_as_it_is(tiny, trainable):
    from influence_store.influence.lora import LoraLm

    weights = {name: p.detach().clone() for name, p in tiny.model.named_parameters()}
    free = {name: p.requires_grad for name, p in tiny.model.named_parameters()}
    learner = LoraLm(tiny, trainable=trainable)
    reading = learner.read(SAMPLES[0])
    (kept,) = learner.train([reading], Recipe(epochs=2, learning_rate=0.1, n_checkpoints=1))

    with learner.at(kept):
        assert {name for name, _ in tiny.model.named_parameters()} == set(weights)
        for name, p in tiny.model.named_parameters():
            assert (p == weights[name]).all(), name
            assert p.requires_grad == free[name]
            assert p.grad is None


def test_frozen_weights_are_shared_not_copied(tiny, lora):
    theirs = {p.data_ptr() for p in tiny.model.parameters()}
    frozen = {p.data_ptr() for p in lora.module.parameters() if not p.requires_grad}
    assert frozen == theirs


def test_last_layer_trains_the_whole_last_block_and_nothing_else(tiny):
    from influence_store.influence.lora import LoraLm

    learner = LoraLm(tiny, trainable="last-layer")
    block = {f"model.layers.3.{name}" for name, _ in tiny.model.model.layers[3].named_parameters()}
    assert set(learner.parameter_names) == block


@pytest.mark.parametrize("kind", ["llama", "mistral", "gemma2", "gpt2"])
def test_every_architecture_learns_through_all_its_linear_layers(tmp_path, kind):
    from influence_store.influence.llm import load_llm
    from influence_store.influence.lora import LoraLm

    llm = load_llm(write_tiny_llm(tmp_path / kind, kind), device="cpu")
    learner = LoraLm(llm, rank=2, target_modules=None)
    readings = [learner.read(sample) for sample in SAMPLES]
    (kept,) = learner.train(readings, Recipe(epochs=2, learning_rate=1e-2, n_checkpoints=1))
    with learner.at(kept):
        norms = learner.gradient_norms(readings)
        gradients = np.stack(list(learner.gradients(readings)))
        product = learner.hessian_product(readings, gradients[0])

    assert not any("lm_head" in name for name in learner.parameter_names)
    np.testing.assert_allclose(norms, np.linalg.norm(gradients, axis=1), rtol=1e-5)
    assert np.isfinite(product).all()


def test_adapter_of_a_coarse_model_is_float32(tiny_llm):
    import torch

    from influence_store.influence.llm import load_llm
    from influence_store.influence.lora import LoraLm

    coarse = load_llm(tiny_llm, dtype="bfloat16", device="cpu")
    learner = LoraLm(coarse, rank=2)
    assert {p.dtype for p in learner.trainable.values()} == {torch.float32}
    recipe = Recipe(epochs=3, learning_rate=1e-2, n_checkpoints=1)
    reading = learner.read(SAMPLES[0])
    (kept,) = learner.train([reading], recipe)
    before = learner.stats([reading])[0].logp.mean()
    with learner.at(kept):
        assert learner.stats([reading])[0].logp.mean() > before + 0.1

    with pytest.raises(Incompatible, match="bfloat16, too coarse"):
        LoraLm(coarse, trainable="last-layer")


def test_seed_decides_the_start_and_torchs_own_randomness_is_untouched(tiny):
    import torch

    from influence_store.influence.lora import LoraLm

    state = torch.random.get_rng_state()
    a, b, c = (LoraLm(tiny, rank=2, seed=seed) for seed in (0, 0, 1))
    assert (torch.random.get_rng_state() == state).all()
    np.testing.assert_array_equal(a.untrained, b.untrained)
    assert not np.array_equal(a.untrained, c.untrained)
    assert a.facts == b.facts != c.facts


def test_too_long_is_truncated_and_empty_is_not(tiny_llm):
    from influence_store.influence.llm import load_llm
    from influence_store.influence.lora import LoraLm

    learner = LoraLm(load_llm(tiny_llm, max_len=100, device="cpu"), rank=2)
    fits = learner.read(Sample.of("x", "y"))
    room = 100 - len(fits.context) - len(fits.gold)
    exact = learner.read(Sample.of("x", "y" * (1 + room)))
    over = learner.read(Sample.of("x", "y" * (2 + room)))
    empty = learner.read(Sample.of("x", ""))

    assert (exact.usable, exact.truncated) == (True, False)
    assert len(learner.stats([exact])[0].logp) == len(exact.gold)
    assert (over.usable, over.truncated) == (False, True)
    assert (empty.usable, empty.truncated) == (False, False)


def test_only_the_head_of_a_response_counts_when_asked(tiny):
    from influence_store.influence.lora import LoraLm

    learner = LoraLm(tiny, rank=2, max_response_tokens=3)
    assert len(learner.read(SAMPLES[2]).gold) == 3
    assert learner.facts["max_response_tokens"] == 3


def test_missing_layers_are_named_with_the_way_out(tiny):
    from influence_store.influence.lora import LoraLm

    with pytest.raises(Incompatible, match="no layers named c_attn") as error:
        LoraLm(tiny, target_modules=("q_proj", "c_attn"))
    assert "target_modules=None" in error.value.hint


def test_facts_tell_learners_apart_that_measure_differently(tiny):
    from influence_store.influence.lora import LoraLm

    plain = Template("plain", "{prompt}", "{prompt}{response}", "{prompt}")
    learners = [
        LoraLm(tiny),
        LoraLm(tiny, rank=4),
        LoraLm(tiny, alpha=32),
        LoraLm(tiny, target_modules=("q_proj",)),
        LoraLm(tiny, trainable="last-layer"),
        LoraLm(tiny, template=plain),
    ]
    assert len({json.dumps(learner.facts, sort_keys=True) for learner in learners}) == len(learners)
    assert LoraLm(tiny, batch_tokens=9).facts == LoraLm(tiny).facts


@pytest.mark.llm
@pytest.mark.data
def test_four_steps_of_warm_up_teach_the_real_llm(small, data_folder):
    from influence_store.influence.lora import LoraLm

    with gzip.open(data_folder / "gsm8k_train.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    samples = sorted(
        (Sample.of(row["instruction"], row["output"]) for row in rows[:500]),
        key=lambda sample: len(sample.prompt + sample.response),
    )[:8]
    ledger = Ledger()
    learner = LoraLm(small, max_response_tokens=16, ledger=ledger)
    readings = [learner.read(sample) for sample in samples]
    recipe = Recipe(epochs=2, batch_size=4, learning_rate=1e-3, n_checkpoints=2)

    kept = learner.train(readings, recipe)
    before = np.mean([mean_logp(one.logp) for one in learner.stats(readings)])
    with learner.at(Checkpoint.from_bytes(kept[-1].to_bytes())):
        after = np.mean([mean_logp(one.logp) for one in learner.stats(readings)])
        norms = learner.gradient_norms(readings[:2])
        full = [np.linalg.norm(gradient) for gradient in learner.gradients(readings[:2])]

    assert learner.n_parameters == 921_600
    assert [c.step for c in kept] == [2, 4]
    assert after > before + 0.2
    np.testing.assert_allclose(norms, full, rtol=1e-4)
    assert ledger.llm_passes == 8 * 2 + 8 + 8 + 2 + 2
