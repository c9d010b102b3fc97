"""On planted scores the card must name the truth, and every number on it must be recomputable."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from influence_store.errors import InputError, NotFound
from influence_store.network.score_card import KENDALL_SAMPLES, draw
from influence_store.network.score_labels import SeedScores, usable_scores
from influence_store.network.score_train import choose_scores, train_scores

QUICK = ("ridge", "neighbours", "kernel-ridge")


def labels(values: np.ndarray) -> SeedScores:
    return usable_scores(values, np.ones(len(values), bool))


@pytest.fixture
def learned(planter):
    """A score that the embedding knows, with some noise."""
    e = planter.embedding.astype(float)
    score = 3 * e[:, 0] + np.sin(5 * e[:, 1]) + 0.2 * planter.rng.normal(size=len(e))
    return labels(score), planter.features


def test_a_score_that_the_embedding_knows_is_trusted(learned):
    trained = train_scores(*learned, networks=QUICK, seed=0)
    assert trained.card.verdict == "trusted"
    assert trained.estimator.network in QUICK
    assert trained.card.own.r2 > 0.5
    assert trained.card.own.top_overlap > trained.card.own.top_chance + 0.2
    assert trained.card.over_length.low > 0


def test_a_score_of_length_is_no_better_than_length(planter):
    length = planter.features.block("lengths")[:, 1].astype(float)
    noisy = length + 0.3 * planter.rng.normal(size=120)
    trained = train_scores(labels(noisy), planter.features, networks=QUICK, seed=0)
    assert trained.estimator.network == "length"
    assert trained.card.verdict == "no better than length"
    assert trained.card.spearman.low > 0.5


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_no_better_than_the_mean(planter, seed):
    noise = np.random.default_rng(50 + seed).normal(size=120)
    trained = train_scores(labels(noise), planter.features, networks=QUICK, seed=seed)
    assert trained.card.verdict == "no better than mean"


def test_a_rank_with_a_worse_error_than_the_mean_is_weak(learned):
    card = train_scores(*learned, networks=QUICK, seed=0).card
    worse = dict(card.figures)
    worse[card.network] = replace(card.own, r2=-0.1)
    doubted = replace(card, figures=worse)
    assert doubted.verdict == "weak"
    assert "the mean has the smaller error" in doubted.doubts[0]


def test_every_figure_is_recomputed_from_the_evidence(learned):
    trained = train_scores(*learned, networks=QUICK, seed=5)
    held = trained.held_out
    for name, shown in trained.card.figures.items():
        told = held.predicted[name]
        rho, tau, top = [], [], []
        residual_t, residual_p = [], []
        for fold in range(5):
            at = held.folds == fold
            t, p = held.truth[at], told[at]
            flat = np.ptp(p) == 0
            rho.append(0.0 if flat else stats.spearmanr(t, p).statistic)
            tau.append(0.0 if flat else stats.kendalltau(t, p).statistic)
            if not flat:
                best = [set(np.argsort(-one)[:2].tolist()) for one in (t, p)]
                top.append(len(best[0] & best[1]) / 2)
            residual_t.extend(t - t.mean())
            residual_p.extend(p - p.mean())
        assert shown.spearman == pytest.approx(np.mean(rho))
        assert shown.kendall == pytest.approx(np.mean(tau))
        assert shown.mse == pytest.approx(np.mean((held.truth - told) ** 2))
        total = np.sum((held.truth - held.baseline) ** 2)
        assert shown.r2 == pytest.approx(1 - np.sum((held.truth - told) ** 2) / total)
        assert shown.top_chance == pytest.approx(2 / 24)
        if name in QUICK:
            assert shown.top_overlap == pytest.approx(np.mean(top))
            slope = np.polyfit(residual_p, residual_t, 1)[0]
            assert shown.calibration_slope == pytest.approx(slope)
    assert trained.card.figures["mean"].calibration_slope is None
    assert trained.card.figures["mean"].r2 == pytest.approx(0.0)


def test_intervals_are_those_of_samples_written_out(learned):
    trained = train_scores(*learned, networks=("ridge",), seed=5)
    held, card = trained.held_out, trained.cards["ridge"]
    rng, gaps = np.random.default_rng(99), []
    for _ in range(250):
        found = []
        for fold in range(5):
            at = rng.choice(np.flatnonzero(held.folds == fold), 24)
            told = (held.predicted[name][at] for name in ("ridge", "length"))
            truth = stats.rankdata(held.truth[at])
            one, other = (np.corrcoef(truth, stats.rankdata(p))[0, 1] for p in told)
            found.append(one - other)
        gaps.append(np.mean(found))
    low, high = np.percentile(gaps, [2.5, 97.5])
    width = high - low
    assert card.over_length.low == pytest.approx(low, abs=0.25 * width)
    assert card.over_length.high == pytest.approx(high, abs=0.25 * width)
    shown = card.own.spearman - card.figures["length"].spearman
    assert card.over_length.mean == pytest.approx(shown)


def test_judged_samples_are_the_labels_and_the_baseline_is_the_fitted_mean(learned):
    seeds, features = learned
    held = train_scores(seeds, features, networks=("ridge",), seed=0).held_out
    assert sorted(held.samples.tolist()) == seeds.samples.tolist()
    value = dict(zip(seeds.samples.tolist(), seeds.values.tolist(), strict=True))
    assert all(
        value[s] == t for s, t in zip(held.samples.tolist(), held.truth.tolist(), strict=True)
    )
    for fold in range(5):
        kept = held.truth[held.folds != fold]
        assert held.baseline[held.folds == fold] == pytest.approx(kept.mean(), abs=0.05)
        np.testing.assert_array_equal(
            held.predicted["mean"][held.folds == fold], held.baseline[held.folds == fold]
        )


def test_simplest_within_one_standard_error_wins(learned):
    held = train_scores(*learned, networks=QUICK, seed=0).held_out
    ridge = held.predicted["ridge"]
    twin = replace(held, predicted={"simple": ridge + 0.0, "rich": ridge})
    assert choose_scores(twin, draw(twin, seed=0)) == "simple"
    truth = replace(held, predicted={"simple": ridge, "rich": held.truth})
    assert choose_scores(truth, draw(truth, seed=0)) == "rich"


def test_card_is_json_and_tells_its_verdict_first(learned):
    card = train_scores(*learned, networks=QUICK, seed=0).card
    facts = json.loads(json.dumps(card.facts()))
    assert facts["verdict"] == card.verdict
    assert facts["figures"]["length"]["spearman"] == card.figures["length"].spearman
    assert facts["labels"]["samples"] == 120
    lines = card.lines()
    assert lines[0] == f"{card.network}: {card.verdict}"
    assert any(line.startswith(f"→ {card.network}") for line in lines)


def test_the_same_seed_tells_the_same_story(learned):
    one, other = (train_scores(*learned, networks=QUICK, seed=3).card.facts() for _ in range(2))
    assert one == other


def test_kendall_of_many_samples_reads_the_same_few_of_each(monkeypatch, learned):
    assert KENDALL_SAMPLES == 500
    monkeypatch.setattr("influence_store.network.score_card.KENDALL_SAMPLES", 10)
    trained = train_scores(*learned, networks=("ridge",), seed=0)
    held = trained.held_out
    expected = [
        stats.kendalltau(held.truth[at], held.predicted["ridge"][at]).statistic
        for at in (np.flatnonzero(held.folds == fold)[:10] for fold in range(5))
    ]
    card = trained.cards["ridge"]
    assert card.own.kendall == pytest.approx(np.mean(expected))
    assert card.kendall.low <= card.own.kendall <= card.kendall.high


def test_too_few_scores_are_refused_before_any_fit(planter):
    values = np.full(120, np.nan)
    values[:29] = np.arange(29.0)
    with pytest.raises(InputError, match=r"29 samples have a usable score.*91"):
        train_scores(labels(values), planter.features, seed=0)


def test_equal_scores_are_refused(planter):
    with pytest.raises(InputError, match=r"all 120 scores are 0\.5"):
        train_scores(labels(np.full(120, 0.5)), planter.features, seed=0)


def test_an_unknown_student_names_the_known_ones(learned):
    with pytest.raises(NotFound, match="kernel-ridge"):
        train_scores(*learned, networks=["kernel-rigde"], seed=0)


@pytest.mark.data
def test_on_real_loss_the_learned_student_beats_length_and_the_published_net(data_folder):
    pytest.importorskip("torch")
    from influence_store.network.features import Features, lengths

    held = np.load(data_folder / "labels" / "less_C.npz")
    features = Features.of(
        {
            "embedding": held["minilm"].astype(np.float32),
            "lengths": lengths(held["prompt_tokens"], held["response_tokens"]),
        }
    )
    seed = np.random.default_rng(0).permutation(800)[:160]
    perplexity = np.full(800, np.nan)
    perplexity[seed] = np.exp(held["nll"][seed].astype(float))
    names = ("ridge", "kernel-ridge", "score-net")
    cards = train_scores(labels(perplexity), features, networks=names, seed=0).cards
    assert cards["kernel-ridge"].over_length.low > 0
    assert cards["kernel-ridge"].own.spearman > cards["score-net"].own.spearman + 0.2
