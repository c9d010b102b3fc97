"""Wrong labels put in on purpose: do the classification scores find them, does pruning pay?

The real part tells four kinds of short questions apart (GSM8K, Alpaca, and two question sets of
T0) with a head on all-MiniLM-L6-v2. Thresholds are set well below what was measured on four
seeds, which the tests state; chance is an AUC of 0.5.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import rankdata
from tiny_encoder import FRUIT, NUMBERS, write_tiny_encoder

from influence_store.influence.checkpoints import Recipe
from influence_store.influence.classifier import EncoderClassifier, classes_of
from influence_store.influence.el2n import El2n
from influence_store.influence.encoder import load_encoder
from influence_store.influence.forgetting import Forgetting
from influence_store.influence.grand import GraNd
from influence_store.influence.pvi import Pvi
from influence_store.influence.tracin import TracInSelf
from influence_store.influence.vog import Vog, normalised
from influence_store.schema.identity import sample_id
from influence_store.schema.sample import Sample

SEEDS = (0, 1, 2)
RECIPE = Recipe(epochs=4, learning_rate=1e-2, n_checkpoints=4)
PER_CLASS = 75
N_TRAIN = 200


@dataclass(frozen=True)
class Planted:
    """Training samples of which `wrong` (n,) have a false label, and their true labels."""

    samples: list[Sample]
    wrong: np.ndarray


def plant(samples, share, seed):
    """Give a share of the samples another class than theirs."""
    rng = np.random.default_rng(seed)
    classes = classes_of(samples)
    wrong = rng.permutation(len(samples)) < round(share * len(samples))
    shift = rng.integers(1, len(classes), len(samples))

    def other(sample, by):
        return classes[(classes.index(sample.response) + by) % len(classes)]

    return Planted(
        [
            Sample.of(sample.prompt, other(sample, by)) if bad else sample
            for sample, bad, by in zip(samples, wrong, shift, strict=True)
        ],
        wrong,
    )


def auc(score, wrong):
    """Chance that a wrong row scores above a right one, ties half."""
    n_wrong = wrong.sum()
    above = rankdata(score)[wrong].sum() - n_wrong * (n_wrong + 1) / 2
    return above / (n_wrong * (len(wrong) - n_wrong))


def train(learner, samples, recipe):
    return learner.train([learner.read(sample) for sample in samples], recipe)


def scores_of(learner, samples, run):
    """What one run says, higher = more likely wrong; EL2N and GraNd look at its first half."""
    early = run[: len(run) // 2]
    return {
        "el2n": El2n(learner, early).score(samples).values["el2n"],
        "grand": GraNd(learner, early).score(samples).values["grand"],
        "tracin-self": TracInSelf(learner, run).score(samples).values["tracin-self"],
    }


def suspicion(learner, samples, recipe):
    """Every method's score, turned so that higher = more likely wrong."""
    found = scores_of(learner, samples, train(learner, samples, recipe))
    found["pvi"] = -held_out_pvi(learner, samples, recipe)
    dense = train(learner, samples, replace(recipe, n_checkpoints=20))
    events = Forgetting(learner, dense).score(samples).values["forgetting"]
    # Never learned counts as forgotten more often than anything else.
    found["forgetting"] = np.nan_to_num(events, nan=len(dense))
    return found


def held_out_pvi(learner, samples, recipe):
    """Two halves, each judged by a model that was trained on the other."""
    values = np.full(len(samples), np.nan)
    for half in (samples[::2], samples[1::2]):
        runs = [train(learner, half, replace(recipe, blind=b)) for b in (False, True)]
        seen = frozenset(sample_id(sample) for sample in half)
        pvi = Pvi(learner, runs[0], null_checkpoints=runs[1], seen=seen)
        judged = pvi.score(samples).values["pvi"]
        values = np.where(np.isnan(judged), values, judged)
    return values


def accuracy(learner, checkpoint, samples):
    with learner.at(checkpoint):
        stats = learner.stats([learner.read(sample) for sample in samples])
    return float(np.mean([one.hit[0] for one in stats]))


# -- a tiny random encoder: the methods together, in seconds -----------------------------------


@pytest.fixture(scope="module")
def tiny_encoder(tmp_path_factory):
    folder = write_tiny_encoder(tmp_path_factory.mktemp("encoder") / "bert")
    return load_encoder(folder, device="cpu")


def word_samples(n, seed=0):
    """Lists of three fruits or three numbers, half each, all different."""
    rng = np.random.default_rng(seed)
    samples = [
        Sample.of(" and ".join(words), name)
        for name, known in (("fruit", FRUIT), ("number", NUMBERS))
        for words in rng.permutation(list(permutations(known, 3)))[: n // 2]
    ]
    return [samples[k] for k in rng.permutation(n)]


def test_wrong_labels_are_found_by_a_tiny_encoder(tiny_encoder):
    planted = plant(word_samples(80, seed=1), 0.1, seed=1)
    learner = EncoderClassifier(tiny_encoder, classes_of(planted.samples), trainable="all")
    found = suspicion(learner, planted.samples, replace(RECIPE, epochs=3, seed=1))
    # Measured on seeds 0, 1, 2: 0.81 to 0.98.
    assert min(auc(score, planted.wrong) for score in found.values()) > 0.75


def test_normalising_dispersion_by_class_takes_the_class_out_and_nothing_else(tiny_encoder):
    # Nine to one, and the rare class has the short texts, whose words each count for more.
    common = [Sample.of(" ".join(w), "number") for w in list(permutations(NUMBERS, 8))[:36]]
    samples = [*common, *(Sample.of(word, "fruit") for word in FRUIT[:4])]
    rare = np.arange(40) >= 36
    learner = EncoderClassifier(tiny_encoder, classes_of(samples), trainable="all")
    run = train(learner, samples, replace(RECIPE, n_checkpoints=2))
    raw = Vog(learner, run).score(samples).values["vog"]
    by_class = normalised(raw, np.array([sample.response for sample in samples]))
    assert np.array_equal(np.flatnonzero(rare), np.sort(np.argsort(-raw)[:4]))
    assert 0.25 < auc(by_class, rare) < 0.75
    for members in (rare, ~rare):
        assert np.array_equal(np.argsort(by_class[members]), np.argsort(raw[members]))


# -- real questions and a real small encoder -----------------------------------------------------


@pytest.fixture(scope="module")
def minilm():
    from influence_store.demo.models import demo_embedder
    from influence_store.errors import MissingExtra
    from influence_store.settings import cache_dir

    try:
        folder = demo_embedder(cache_dir())
    except MissingExtra as error:
        pytest.skip(f"the small encoder is not installed: {error}")
    return load_encoder(folder, device="cpu")


@pytest.fixture(scope="module")
def questions(data_folder) -> dict[str, list[Sample]]:
    """Short questions by kind, some 20 tokens each."""
    t0 = rows(data_folder / "t0_50k.jsonl.gz")
    kinds = {
        "arithmetic": rows(data_folder / "gsm8k_train.jsonl.gz"),
        "instruction": rows(data_folder / "alpaca_demo.jsonl.gz"),
        "trivia": [r for r in t0 if r["source"].endswith("hotpotqa_straighforward_qa")],
        "everyday": [r for r in t0 if r["source"].endswith("cosmos_qa_only_question_answer")],
    }
    texts = {
        kind: dict.fromkeys(
            row["instruction"]
            for row in found
            if len(row["instruction"]) < 120 and not row["input"]
        )
        for kind, found in kinds.items()
    }
    return {
        kind: [Sample.of(text, kind) for text in list(found)[:PER_CLASS]]
        for kind, found in texts.items()
    }


def rows(path: Path):
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def learner(minilm, questions):
    # One for all tests: its encoder is frozen, so every text is read once.
    return EncoderClassifier(minilm, tuple(questions), trainable="head")


def split(questions, seed):
    everything = [sample for kind in questions.values() for sample in kind]
    order = np.random.default_rng(seed).permutation(len(everything))
    shuffled = [everything[k] for k in order]
    return shuffled[:N_TRAIN], shuffled[N_TRAIN:]


@pytest.mark.llm
@pytest.mark.data
def test_wrong_labels_among_real_questions_are_found(learner, questions):
    measured = []
    for seed in SEEDS:
        planted = plant(split(questions, seed)[0], 0.1, seed)
        found = suspicion(learner, planted.samples, replace(RECIPE, seed=seed))
        measured.append([auc(score, planted.wrong) for score in found.values()])
    lowest = dict(zip(found, np.min(measured, axis=0), strict=True))
    # Measured on seeds 0 to 3: 0.93 to 0.99, and 0.84 to 0.92 for forgetting, whose scores are
    # mostly ties at 0.
    assert lowest.pop("forgetting") > 0.75
    assert min(lowest.values()) > 0.88


@pytest.mark.llm
@pytest.mark.data
def test_dispersion_of_a_trained_head_does_not_find_wrong_labels(learner, questions):
    planted = plant(split(questions, 0)[0][:60], 0.2, seed=0)
    run = train(learner, planted.samples, replace(RECIPE, n_checkpoints=2))
    vog = Vog(learner, run).score(planted.samples).values["vog"]
    el2n = El2n(learner, run[:1]).score(planted.samples).values["el2n"]
    # Measured 0.40 here and 0.53 on 200 rows, against 0.93 and 0.99; chance in the paper as well.
    # Where the last block is trained too, one run of 100 rows gave 0.80: do not rely on either.
    assert auc(vog, planted.wrong) < auc(el2n, planted.wrong) - 0.2


@pytest.mark.llm
@pytest.mark.data
def test_pruning_by_score_wins_back_what_wrong_labels_cost(learner, questions):
    after = {name: [] for name in ("el2n", "grand", "tracin-self", "random", "nothing")}
    for seed in SEEDS:
        clean, test = split(questions, seed)
        planted = plant(clean, 0.2, seed)
        recipe = replace(RECIPE, epochs=8, seed=seed)
        found = scores_of(learner, planted.samples, train(learner, planted.samples, recipe))
        found["random"] = np.random.default_rng(seed).random(N_TRAIN)
        found["nothing"] = np.zeros(0)
        for name, accuracies in after.items():
            dropped = set(np.argsort(-found[name])[: round(0.2 * N_TRAIN)])
            kept = [sample for k, sample in enumerate(planted.samples) if k not in dropped]
            last = train(learner, kept, replace(recipe, n_checkpoints=1))[-1]
            accuracies.append(accuracy(learner, last, test))
    means = {name: np.mean(accuracies) for name, accuracies in after.items()}
    # Measured on three seeds: 0.92 to 0.93 by score, 0.85 at random, 0.84 without pruning.
    for name in ("el2n", "grand", "tracin-self"):
        assert means[name] > max(means["random"], means["nothing"]) + 0.02


@pytest.mark.llm
@pytest.mark.data
def test_top_scores_hold_more_of_a_rare_class_than_its_share(learner, questions):
    shares = {"el2n": [], "grand": []}
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        samples = [*questions["everyday"][:72], *rng.choice(questions["trivia"], 8, replace=False)]
        run = train(learner, samples, replace(RECIPE, seed=seed))[:2]
        for name, method in (("el2n", El2n), ("grand", GraNd)):
            scores = method(learner, run).score(samples).values[name]
            shares[name].append(np.mean(np.argsort(-scores)[:8] >= 72))
    # A tenth is its share of the rows; measured 1.0 on three seeds.
    assert min(np.mean(found) for found in shares.values()) > 0.5
