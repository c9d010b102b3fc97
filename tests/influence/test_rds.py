from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
import torch
from tiny_llm import write_tiny_llm

from influence_store.errors import Incompatible
from influence_store.influence.llm import load_llm
from influence_store.influence.rds import Rds
from influence_store.protocols import Ledger
from influence_store.schema.identity import fingerprint
from influence_store.schema.sample import Sample

SAMPLES = [
    Sample.of(f"What is {k} times {k}?", f"It is {k * k}{', a long number' * (k % 3)}.")
    for k in range(2, 9)
]


def text_of(llm, sample):
    """The whole sample as the template writes it, token by token."""
    instruction = "Instruction: Please generate a response to the following query.\n\n\nQuery: "
    prompt = llm.tokenize(f"{instruction}{sample.prompt}\n")
    response = llm.tokenize(sample.response)
    return np.concatenate([prompt, [llm.eos_id], response, [llm.eos_id]])


def states_of(llm, sample, layer):
    """(T, d) from a plain forward of transformers, alone in its batch."""
    ids = torch.from_numpy(text_of(llm, sample))[None]
    with torch.no_grad():
        return llm.model(ids, output_hidden_states=True).hidden_states[layer][0].double().numpy()


def unit(vector):
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("layer", [-1, 4, 2, 0])
def test_mean_pooling_is_the_plain_mean_of_all_tokens_but_the_first(tiny, layer):
    vectors = Rds(tiny, layer=layer).vectors(SAMPLES, "source").vectors
    for sample, vector in zip(SAMPLES, vectors, strict=True):
        expected = unit(states_of(tiny, sample, layer)[1:].mean(axis=0))
        np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_weighted_pooling_gives_position_t_the_weight_t(tiny):
    vectors = Rds(tiny, pooling="weighted").vectors(SAMPLES, "source").vectors
    for sample, vector in zip(SAMPLES, vectors, strict=True):
        states = states_of(tiny, sample, -1)
        expected = unit(sum(t * state for t, state in enumerate(states)))
        np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_last_pooling_is_the_state_of_the_last_token(tiny):
    vectors = Rds(tiny, pooling="last").vectors(SAMPLES, "source").vectors
    for sample, vector in zip(SAMPLES, vectors, strict=True):
        np.testing.assert_allclose(vector, unit(states_of(tiny, sample, -1)[-1]), atol=1e-5)


@pytest.mark.parametrize("kind", ["llama", "mistral", "gemma2", "gpt2"])
def test_vectors_do_not_depend_on_batch_or_order(tmp_path, kind):
    llm = load_llm(write_tiny_llm(tmp_path / kind, kind), device="cpu")
    alone = Rds(llm, batch_tokens=1).vectors(SAMPLES, "source").vectors
    order = np.random.default_rng(0).permutation(len(SAMPLES))
    together = Rds(llm, batch_tokens=10_000).vectors([SAMPLES[k] for k in order], "source").vectors
    np.testing.assert_allclose(together, alone[order], atol=1e-5)
    assert np.ptp(alone @ alone.T) > 1e-3


def test_products_are_cosines_and_a_sample_is_closest_to_itself(tiny):
    rds = Rds(tiny)
    targets = rds.vectors(SAMPLES[:3], "target").vectors
    sources = rds.vectors(SAMPLES, "source").vectors
    products = targets @ sources.T
    assert products.shape == (3, len(SAMPLES))
    np.testing.assert_allclose(np.diag(products), 1.0, atol=1e-5)
    assert (products.argmax(axis=1) == [0, 1, 2]).all()
    assert products.min() >= -1.0
    assert rds.symmetric
    np.testing.assert_array_equal(targets, rds.vectors(SAMPLES[:3], "source").vectors)


def test_too_long_or_without_a_response_is_nan_and_costs_nothing(tiny):
    rds = Rds(tiny)
    fixed = len(text_of(tiny, Sample.of("", "")))
    samples = [
        Sample.of("a" * (512 - fixed - 1), "b"),
        Sample.of("a" * (512 - fixed), "b"),
        Sample.of("a", ""),
    ]
    assert len(text_of(tiny, samples[0])) == 512
    got = rds.vectors(samples, "source")
    assert np.isnan(got.vectors).all(axis=1).tolist() == [False, True, True]
    assert not np.isnan(got.vectors[0]).any()
    assert got.truncated.tolist() == [False, True, False]
    assert got.n_tokens.tolist() == [511, 0, 0]
    assert rds.ledger == Ledger(llm_passes=1, llm_tokens=512)


def test_ledger_counts_every_sample_once_without_padding(tiny):
    rds = Rds(tiny, batch_tokens=200)
    rds.vectors(SAMPLES, "source")
    tokens = sum(len(text_of(tiny, sample)) for sample in SAMPLES)
    assert rds.ledger == Ledger(llm_passes=len(SAMPLES), llm_tokens=tokens)


def test_no_sample_gives_no_vector(tiny):
    got = Rds(tiny).vectors([], "source")
    assert got.vectors.shape == (0, 32)


def test_fingerprint_tells_what_changes_a_vector_and_nothing_else(tiny):
    base = fingerprint(Rds(tiny).facts)
    assert fingerprint(Rds(tiny, batch_tokens=7).facts) == base
    assert fingerprint(Rds(tiny, layer=4).facts) == base
    others = [Rds(tiny, layer=2), Rds(tiny, pooling="last"), Rds(tiny, pooling="weighted")]
    assert len({base, *[fingerprint(one.facts) for one in others]}) == 4


@pytest.mark.parametrize("layer", [5, -6])
def test_a_layer_the_llm_does_not_have_is_refused(tiny, layer):
    with pytest.raises(ValueError, match=f"layer is {layer}; .* 0 to 4"):
        Rds(tiny, layer=layer)


def test_a_pooling_that_is_not_known_is_refused(tiny):
    with pytest.raises(ValueError, match="expected one of mean, weighted, last"):
        Rds(tiny, pooling="max")


def test_overflowing_model_stops_the_run_instead_of_yielding_nan(tmp_path):
    llm = load_llm(write_tiny_llm(tmp_path / "llm"), device="cpu")
    llm.model.model.norm.weight.data[0] = float("nan")
    with pytest.raises(Incompatible, match="yields NaN in float32"):
        Rds(llm).vectors(SAMPLES, "source")


@pytest.mark.llm
@pytest.mark.data
def test_real_samples_are_nearer_to_their_own_kind(small, data_folder):
    samples = []
    for name in ("gsm8k_train", "alpaca_demo"):
        with gzip.open(data_folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        short = [row for row in rows if len(row["instruction"] + row["output"]) < 300][:8]
        samples += [Sample.of(row["instruction"], row["output"]) for row in short]
    vectors = Rds(small).vectors(samples, "source").vectors
    own = np.repeat([True, False], 8)
    same = own[:, None] == own[None]
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, np.nan)
    assert np.nanmean(cosines[same]) > np.nanmean(cosines[~same]) + 0.02
    nearest = np.nanargmax(cosines, axis=1)
    assert (own[nearest] == own).mean() > 0.9
