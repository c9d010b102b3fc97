"""Every number that `train` shows is computed again here: from stored labels, by other formulas.

What an estimator says of the pairs kept back is refitted with the stored seed; all figures come
from SciPy or from their definition, pair by pair, not from the package.
"""

from __future__ import annotations

import json
import re
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from influence_store.jobs.features import FREE, gather
from influence_store.jobs.train_pairs import pair_lesson
from influence_store.network import NETWORKS
from influence_store.network.labels import folds, usable
from influence_store.network.predict import predict_pairs
from influence_store.store.store import Store
from influence_store.version import __version__

SHARES = (0.1, 0.3)
CHOSEN = "two-step-kernel-ridge"


@pytest.fixture(scope="module")
def shown(stages, tmp_path_factory):
    """The card as stored, the lines as printed, and predictions for every pair kept back."""
    cli = stages.copy_before("train", tmp_path_factory.mktemp("shown") / "store")
    told = cli("train", "demo", "--network", CHOSEN)
    (row,) = cli.json("query", "select card from estimators")
    with_card = json.loads(row["card"])
    store = Store.open(cli.root, __version__)
    version = store.version("demo")
    lesson = pair_lesson(store, version, version, "delift", None)
    features, _ = gather(store, lesson.sids, FREE, lesson.embedder, lesson.state)
    pairs = usable(lesson.targets, lesson.sources, lesson.values, features.block("embedding"))
    stored = {
        (row["target"], row["source"]): row["delift-l2"]
        for row in store.pairs(lesson.method).to_dicts()
    }
    for t, s, value in zip(pairs.targets, pairs.sources, pairs.values, strict=True):
        assert stored[lesson.sids[t], lesson.sids[s]] == np.float32(value)
    repeats = with_card["folds"] // 8
    judged = []
    for fold in folds(pairs, repeats=repeats, seed=with_card["seed"]):
        known, asked = pairs.take(fold.fit), pairs.take(fold.quadrants["Q4"])
        said = {"baseline": np.full(len(asked), known.values.mean())}
        for name in ("mean", "cosine", "additive-ridge", CHOSEN):
            estimator = NETWORKS.get(name)(known, features, seed=with_card["seed"])
            said[name] = predict_pairs(estimator, features, asked.targets, asked.sources)
        judged.append((asked, said))
    store.database.close()
    return with_card, told, judged


def rows_of(asked, said):
    """(target, labels, predictions) of each target judged on at least 3 unequal labels."""
    for target in np.unique(asked.targets):
        at = asked.targets == target
        if at.sum() >= 3 and np.ptp(asked.values[at]) > 0:
            yield target, asked.values[at], said[at]


def mean_per_target(judged, name, figure):
    """The mean over targets of the mean over the ways in which a target was kept back."""
    found: dict[int, list[float]] = {}
    for asked, said in judged:
        for target, truth, guess in rows_of(asked, said[name]):
            found.setdefault(target, []).append(figure(truth, guess))
    return np.mean([np.mean(values) for values in found.values()])


def unless_constant(rank):
    return lambda a, b: rank(a, b).statistic if np.ptp(b) > 0 else 0.0


def blocks(judged, name):
    """Complete blocks of what is judged on one group of sources."""
    groups: dict[tuple, list] = {}
    for asked, said in judged:
        groups.setdefault(tuple(np.unique(asked.sources)), []).append((asked, said[name]))
    for sources, parts in groups.items():
        truth, guess = [], []
        for asked, said in parts:
            for target in np.unique(asked.targets):
                at = np.flatnonzero(asked.targets == target)
                place = {asked.sources[k]: k for k in at}
                for rows, values in ((truth, asked.values), (guess, said)):
                    low = values[at].min()
                    rows.append([values[place[s]] if s in place else low for s in sources])
        yield np.array(truth), np.array(guess)


def greedy(matrix, size):
    chosen: list[int] = []
    for _ in range(size):
        worth = [
            -1e9 if j in chosen else matrix[:, [*chosen, j]].max(axis=1).sum()
            for j in range(matrix.shape[1])
        ]
        chosen.append(int(np.argmax(worth)))
    return chosen


def gain(judged, name, share):
    own = best = 0.0
    for truth, guess in blocks(judged, name):
        size = max(1, round(share * truth.shape[1]))
        sets = list(combinations(range(truth.shape[1]), size))
        chance = np.mean([truth[:, list(one)].max(axis=1).sum() for one in sets])
        own += truth[:, greedy(guess, size)].max(axis=1).sum() - chance
        best += truth[:, greedy(truth, size)].max(axis=1).sum() - chance
    return own / best


@pytest.mark.parametrize("name", ["mean", "cosine", "additive-ridge", CHOSEN])
def test_stored_figures_are_those_of_the_stored_labels(shown, name):
    card, _, judged = shown
    figures = card["figures"]["Q4"][name]
    truth = np.concatenate([asked.values for asked, _ in judged])
    guess = np.concatenate([said[name] for _, said in judged])
    base = np.concatenate([said["baseline"] for _, said in judged])
    assert figures["pairs"] == len(truth)
    assert figures["mse"] == pytest.approx(np.mean((truth - guess) ** 2))
    assert figures["mae"] == pytest.approx(np.mean(np.abs(truth - guess)))
    explained = 1 - np.sum((truth - guess) ** 2) / np.sum((truth - base) ** 2)
    assert figures["r2"] == pytest.approx(explained)
    rho = mean_per_target(judged, name, unless_constant(stats.spearmanr))
    tau = mean_per_target(judged, name, unless_constant(stats.kendalltau))
    assert figures["spearman_per_target"] == pytest.approx(rho)
    assert figures["kendall_per_target"] == pytest.approx(tau)
    if name != "mean":
        line = stats.linregress(guess, truth)
        assert figures["calibration_slope"] == pytest.approx(line.slope)
        assert figures["calibration_intercept"] == pytest.approx(line.intercept)
    for one in figures["selection"]:
        assert one["gain"] == pytest.approx(gain(judged, name, one["share"]))
    assert [one["share"] for one in figures["selection"]] == list(SHARES)


def test_best_of_each_row_are_counted_as_shown(shown):
    card, _, judged = shown
    for one in card["figures"]["Q4"][CHOSEN]["top_k"]:
        k, shares, chances = one["k"], [], []
        for asked, said in judged:
            for _, truth, guess in rows_of(asked, said[CHOSEN]):
                if len(truth) > k:
                    best, found = np.argsort(-truth)[:k], np.argsort(-guess)[:k]
                    shares.append(len(np.intersect1d(best, found)) / k)
                    chances.append(k / len(truth))
        assert one["overlap"] == pytest.approx(np.mean(shares))
        assert one["chance"] == pytest.approx(np.mean(chances))
        assert one["rows"] == len(shares)


def test_intervals_hold_their_mean_and_the_verdict_follows_its_rule(shown):
    card, _, judged = shown
    figures = card["figures"]["Q4"]
    rank = {name: figures[name]["spearman_per_target"] for name in figures}
    own = card["network"]
    assert card["spearman"]["mean"] == pytest.approx(rank[own])
    assert card["over_cosine"]["mean"] == pytest.approx(rank[own] - rank["cosine"])
    assert card["over_additive"]["mean"] == pytest.approx(rank[own] - rank["additive-ridge"])
    for one, share in zip(card["selection"], SHARES, strict=True):
        assert one["own"]["mean"] == pytest.approx(gain(judged, own, share))
    assert card["rank_floor"] <= card["spearman"]["low"]
    if card["rank_floor"] <= 0:
        assert card["verdict"] == "no better than mean"
    elif card["over_cosine"]["low"] <= 0:
        assert card["verdict"] == "no better than cosine"


def test_printed_table_is_the_stored_card(shown):
    card, told, _ = shown
    printed = {}
    for line in told.splitlines():
        cells = re.split(r"\s{2,}", line.strip().removeprefix("→ "))
        if cells[0] in card["figures"]["Q4"]:
            printed[cells[0]] = cells[1:]
    assert set(printed) == set(card["figures"]["Q4"])
    for name, cells in printed.items():
        figures = card["figures"]["Q4"][name]
        assert float(cells[1]) == pytest.approx(figures["spearman_per_target"], abs=0.006)
        shown_gains = [float(cell) for cell in cells[3:5]]
        stored = [one["gain"] for one in figures["selection"]]
        assert shown_gains == pytest.approx(stored, abs=0.006)
        assert float(cells[-1]) == pytest.approx(figures["additivity"], abs=0.006)
    assert f"{card['network']}: {card['verdict']}" in told
