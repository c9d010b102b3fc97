"""A second asking is compared and recorded; the labels stay as they are."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from tiny_llm import write_tiny_llm

from influence_store.errors import NotFound, UsageError
from influence_store.influence.delift import Delift
from influence_store.influence.llm import load_llm
from influence_store.jobs.agreement import known_agreement, label_again, measure_agreement
from influence_store.jobs.budget import Budget
from influence_store.jobs.label_pairs import label_pairs
from influence_store.jobs.label_sets import compare_label_sets
from influence_store.jobs.methods import ModelChoice
from influence_store.protocols import InfluenceSpec, Ledger
from influence_store.store.store import Store
from influence_store.version import __version__

ROWS, PAIRS = 30, 300


@pytest.fixture(scope="module")
def labelled(tmp_path_factory, tiny_llm, open_cli, write_rows):
    """A store with labels of the tiny LLM."""
    base = tmp_path_factory.mktemp("agreement")
    run = open_cli(base / "store")
    run("init")
    run("ingest", str(write_rows(base / "rows.jsonl", range(ROWS))), "--dataset", "demo")
    run("label", "demo", "--model", str(tiny_llm), "--pairs", str(PAIRS))
    return run.root


@pytest.fixture
def copy(labelled, tmp_path, copy_store):
    store = Store.open(copy_store(labelled, tmp_path / "store"), __version__)
    yield store
    store.database.close()


def again(store, llm, **changed):
    version = store.version("demo")
    choice = ModelChoice(str(llm), settings=changed)
    return label_again(store, version, version, "delift", choice, pairs=60)


def test_a_deterministic_teacher_agrees_with_itself_under_another_batch_plan(copy, tiny_llm):
    (producer,) = copy.producers("pairs")
    blocks = [block.path for block in copy.blocks("pairs")]
    assert known_agreement(copy, producer) is None

    report = again(copy, tiny_llm)

    assert report.asked == 60
    assert set(report.outputs) == {"delift-l2", "delift-kl"}
    for one in report.outputs.values():
        assert one.pairs == 60
        assert one.spearman.mean == pytest.approx(1.0, abs=1e-3)
        assert one.r2 == pytest.approx(1.0, abs=1e-6)
        assert one.spearman_ceiling == pytest.approx(1.0, abs=1e-3)
    assert report.plan == {"batch_tokens": "192", "prefix_cache": "false"}
    assert report.llm_passes > 60  # every pair and every target was really asked
    assert report.others == ()
    assert [block.path for block in copy.blocks("pairs")] == blocks
    assert known_agreement(copy, producer) == json.loads(json.dumps(report.facts()))


def test_the_second_asking_stands_in_the_log(copy, tiny_llm, open_cli):
    again(copy, tiny_llm)
    newest = open_cli(copy.uri).json("log")["runs"][0]
    assert (newest["verb"], newest["state"]) == ("agreement", "committed")
    assert newest["result"]["outputs"]["delift-l2"]["spearman_ceiling"] > 0.99
    assert newest["cost"]["llm_passes"] > 60


def test_another_model_is_compared_where_the_pairs_are_the_same(copy, tiny_llm, tmp_path, open_cli):
    other = write_tiny_llm(tmp_path / "revision", seed=1)
    told = open_cli(copy.uri).json("label", "demo", "--model", str(other), "--pairs", "120")
    first, second = copy.producers("pairs")
    report = again(copy, tiny_llm)

    (found,) = report.others
    assert found.fingerprint == second.fingerprint
    assert found.differs
    assert all(name.startswith("llm.") for name in found.differs)
    both = copy.pairs(first).join(copy.pairs(second), on=["source", "target"])
    assert found.outputs["delift-l2"].pairs == both.height == told["scored"]
    difference = both["delift-l2_right"].cast(pl.Float64) - both["delift-l2"].cast(pl.Float64)
    assert found.outputs["delift-l2"].mean_difference == pytest.approx(difference.mean())
    assert found.outputs["delift-l2"].spearman.mean < 0.9

    version = copy.version("demo")
    (back,) = compare_label_sets(copy, version, version, second, seed=0)
    assert back.fingerprint == first.fingerprint
    assert back.outputs["delift-l2"].mean_difference == pytest.approx(-difference.mean())
    assert known_agreement(copy, second) is None


def test_a_cut_is_named_as_what_differs(copy, tiny_llm):
    version = copy.version("demo")
    short = Delift(load_llm(tiny_llm, device="cpu"), max_response_tokens=2)
    label_pairs(copy, version, version, short, Budget(pairs=60), seed=0)
    first, second = copy.producers("pairs")
    (found,) = compare_label_sets(copy, version, version, second, seed=0)
    assert found.differs == ("max_response_tokens",)
    assert found.fingerprint == first.fingerprint


class NoisyTeacher:
    """Truth of letters, and noise that no fact tells of: what a careless batch plan does."""

    spec = InfluenceSpec("noisy", ("noisy",), "helpful", "none")

    def __init__(self, noise, seed):
        self.ledger = Ledger()
        self.facts = {"method": "noisy", "version": 1}
        self._noise, self._rng = noise, np.random.default_rng(seed)
        self.asked = set()

    def prepare(self, targets):
        return [self._letters(target.prompt) for target in targets]

    def score(self, state, source, targets):
        self.ledger.llm_passes += len(targets)
        self.asked.add(source.prompt)
        truth = [np.cos(7 * state[i] * self._letters(source.prompt)) for i in targets]
        noise = self._noise * np.sqrt(0.5) * self._rng.normal(size=len(targets))
        return {"noisy": (np.array(truth) + noise).astype(np.float32)}

    def _letters(self, text):
        return sum(ord(letter) * (k + 1) for k, letter in enumerate(text)) / 100


def test_noise_of_a_known_size_is_told_as_the_ceiling_it_sets(copy):
    version = copy.version("demo")
    label_pairs(copy, version, version, NoisyTeacher(1.0, seed=1), Budget(pairs=800), seed=0)
    repeat = NoisyTeacher(1.0, seed=2)
    report = measure_agreement(copy, version, version, repeat, pairs=700, seed=0)
    one = report.outputs["noisy"]
    # The cosine of a random angle has variance 1/2, as has the noise: reliability 1/2.
    assert one.r2_ceiling == pytest.approx(0.5, abs=0.08)
    assert one.spearman_ceiling == pytest.approx(np.sqrt(0.5), abs=0.07)
    assert any("ceiling for any estimator: rank ρ 0.7" in line for line in report.lines())


def test_few_sources_serve_all_targets_and_the_same_seed_draws_the_same_pairs(copy):
    version = copy.version("demo")
    label_pairs(copy, version, version, NoisyTeacher(0.0, seed=1), Budget(pairs=800), seed=0)
    first, second, other = (NoisyTeacher(0.0, seed=1) for _ in range(3))
    one = measure_agreement(copy, version, version, first, pairs=100, seed=5)
    two = measure_agreement(copy, version, version, second, pairs=100, seed=5)
    measure_agreement(copy, version, version, other, pairs=100, seed=6)
    assert one.asked == 100
    assert 10 <= len(first.asked) <= 13  # a source is no partner of itself
    assert first.asked == second.asked != other.asked
    assert one.outputs == two.outputs
    assert one.outputs["noisy"].ranked_targets == 10


def test_what_was_never_labelled_cannot_be_asked_again(copy, tiny_llm, tmp_path):
    with pytest.raises(NotFound, match="label demo@1 --method delift"):
        again(copy, write_tiny_llm(tmp_path / "other", seed=2))
    version = copy.version("demo")
    with pytest.raises(NotFound, match="no labels of noisy"):
        measure_agreement(copy, version, version, NoisyTeacher(0.0, 0), seed=0)
    with pytest.raises(UsageError, match="perplexity is pointwise"):
        label_again(copy, version, version, "perplexity", ModelChoice(str(tiny_llm)))
    with pytest.raises(UsageError, match="at least 20"):
        measure_agreement(copy, version, version, NoisyTeacher(0.0, 0), pairs=2, seed=0)
    assert copy.producers("pairs")[0].name == "delift"
    assert len(copy.producers("pairs")) == 1
