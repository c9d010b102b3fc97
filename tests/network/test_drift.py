"""Drift: distances are exact, the law is the true one, and the advice covers the rows."""

from __future__ import annotations

import gzip
import json
from itertools import combinations

import numpy as np
import pytest

from influence_store.network import drift as module
from influence_store.network.drift import (
    PEER,
    Place,
    distance_to_nearest,
    drift,
    place,
    place_in_seed,
    rows_to_cover,
)


def points(rng, n, dim=5):
    return rng.normal(size=(n, dim)).astype(np.float32)


def cosine_distance(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def alone(to_seed):
    """Rows without peers."""
    to_seed = np.asarray(to_seed, float)
    return Place(to_seed, np.full(len(to_seed), np.inf))


def placed(embedding, rows, seed, n_peers):
    return place(embedding[rows], rows, embedding[seed], embedding[rows[:n_peers]], rows[:n_peers])


@pytest.mark.parametrize("tile", [1, 7, 8192])
def test_distances_are_those_of_a_double_loop(monkeypatch, tile):
    monkeypatch.setattr(module, "TILE_ROWS", tile)
    rng = np.random.default_rng(0)
    rows, seed = points(rng, 23), points(rng, 9)
    ids = rng.permutation(100)[:23]
    told = place(rows, ids, seed, rows[4:15], ids[4:15])
    assert told.to_seed == pytest.approx(
        [min(cosine_distance(row, one) for one in seed) for row in rows], abs=1e-6
    )
    peers = [
        sorted(cosine_distance(rows[k], rows[j]) for j in range(4, 15) if j != k)[PEER - 1]
        for k in range(23)
    ]
    assert told.to_peer == pytest.approx(peers, abs=1e-6)
    within = [min(cosine_distance(seed[k], seed[j]) for j in range(9) if j != k) for k in range(9)]
    assert place_in_seed(seed).to_seed == pytest.approx(within, abs=1e-6)


def test_a_seed_sample_is_no_way_from_the_seed_whatever_its_length():
    seed = points(np.random.default_rng(1), 6)
    assert distance_to_nearest(3 * seed, seed) == pytest.approx(np.zeros(6), abs=1e-6)


def test_with_too_few_peers_only_the_seed_counts():
    rows = points(np.random.default_rng(1), PEER)
    assert np.isinf(place(rows, np.arange(PEER), rows, rows, np.arange(PEER)).to_peer).all()


@pytest.mark.parametrize(("n", "m"), [(3, 4), (5, 6), (2, 40), (3, 20)])
def test_the_p_value_is_the_share_of_all_orders_with_as_many_outside(n, m):
    """Brute force: every way in which new rows can stand among the reference rows."""
    counts, law = np.zeros(n + 1), {}
    for new in combinations(range(n + m), n):
        told = drift(alone(new), alone(np.setdiff1d(np.arange(n + m), new)))
        counts[told.outside] += 1
        law[told.outside] = told.p_value
    tail = counts[::-1].cumsum()[::-1] / counts.sum()
    assert law == {k: pytest.approx(tail[k]) for k in range(n + 1)}
    assert told.expected == pytest.approx(counts @ np.arange(n + 1) / counts.sum() / n)


@pytest.mark.parametrize("m", [1, 5, 19, 39, 1000])
def test_the_limit_leaves_five_percent_or_the_one_farthest_row(m):
    told = drift(alone([0.5]), alone(np.random.default_rng(0).random(m)))
    assert told.expected == max(1, (m + 1) // 20) / (m + 1)


def test_outside_is_what_the_definition_says_row_by_row():
    rng = np.random.default_rng(3)
    new, reference = (Place(rng.random(n), 0.5 + rng.random(n)) for n in (30, 80))

    def z(d, q):
        return max((reference.to_seed < d).sum(), (reference.relative < q).sum())

    ordinary = [z(d, q) for d, q in zip(reference.to_seed, reference.relative, strict=True)]
    highest = sorted(ordinary)[-4]  # ⌊.05 · 81⌋ = 4
    wanted = [z(d, q) > highest for d, q in zip(new.to_seed, new.relative, strict=True)]
    told = drift(new, reference)
    assert told.is_outside(new).tolist() == wanted
    assert told.outside == sum(wanted) > 0


def test_rows_of_the_same_kind_are_seldom_called_drift():
    rng = np.random.default_rng(2)
    told = [drift(alone(rng.random(60)), alone(rng.random(200))) for _ in range(2000)]
    assert sum(one.p_value < 0.05 for one in told) <= 2000 * 0.05 + 3 * np.sqrt(2000 * 0.0475)
    assert sum(one.found for one in told) <= 8  # 2 expected; more than 8: p = .0002
    assert np.mean([one.share for one in told]) == pytest.approx(10 / 201, abs=0.003)


def test_a_small_excess_is_not_drift_however_sure():
    new = np.concatenate([np.full(700, 2.0), np.zeros(9300)])  # 7 % outside
    told = drift(alone(new), alone(np.arange(100_000) / 100_000))
    assert told.p_value < 1e-9
    assert not told.found


def test_a_dense_kind_amid_spread_out_rows_is_drift_though_not_far():
    rng = np.random.default_rng(4)
    spread = points(rng, 440, dim=40)
    centre = spread[:40].mean(axis=0)
    dense = (centre / np.linalg.norm(centre) + 0.04 * points(rng, 100, dim=40)).astype(np.float32)
    embedding, seed = np.concatenate([spread, dense]), np.arange(40)
    told = drift(
        placed(embedding, np.arange(440, 540), seed, 100),
        placed(embedding, np.arange(40, 440), seed, 100),
    )
    assert told.found
    assert told.far < 5 < 90 < told.apart
    assert (
        f"{told.apart} are close to each other, with no labelled source among them"
        in told.lines()[1]
    )


def test_the_facts_are_json_and_tell_the_verdict():
    told = drift(alone([0.9] * 40), alone(np.random.default_rng(0).random(100) / 2))
    facts = json.loads(json.dumps(told.facts(), allow_nan=False))
    assert (facts["drift"], facts["share"], facts["apart_limit"]) == (True, 1.0, None)
    assert "40 of 40 new rows (100%)" in told.lines()[0]


def test_nothing_to_compare_is_refused():
    with pytest.raises(ValueError, match="0 new and 3 reference"):
        drift(alone([]), alone([0, 0, 0]))


def left_over(rows, limit, picks):
    return sum(
        min((cosine_distance(row, rows[p]) for p in picks), default=2) > most
        for row, most in zip(rows, limit, strict=True)
    )


@pytest.mark.parametrize("tolerated", [0, 2])
def test_the_cover_leaves_no_more_than_tolerated_and_is_near_the_smallest(tolerated):
    rng = np.random.default_rng(5)
    for _ in range(5):
        rows, limit = points(rng, 9, dim=3), rng.uniform(0.05, 0.5, 9)
        cover = rows_to_cover(rows, limit, tolerated)
        assert left_over(rows, limit, cover) <= tolerated
        smallest = next(
            size
            for size in range(10)
            if any(
                left_over(rows, limit, picks) <= tolerated for picks in combinations(range(9), size)
            )
        )
        assert smallest <= len(cover) <= smallest + 1


def test_each_cluster_takes_one_label():
    rng = np.random.default_rng(6)
    rows = np.repeat(np.eye(8, dtype=np.float32), 30, axis=0) + 0.01 * points(rng, 240, dim=8)
    cover = rows_to_cover(rows, np.full(240, 0.1), 0)
    assert sorted(pick // 30 for pick in cover) == list(range(8))
    assert len(rows_to_cover(rows, np.full(240, 0.1), 61)) == 6


@pytest.mark.data
@pytest.mark.parametrize("name", ["gsm8k_train", "alpaca_demo", "t0"])
def test_on_real_text_a_kind_that_was_not_labelled_is_drift_and_a_fair_draw_is_not(
    data_folder, name
):
    with gzip.open(data_folder / "labels" / "less_C_pool.jsonl.gz", "rt") as lines:
        kind = np.array([json.loads(line)["source"].split("/")[0] for line in lines])
    embedding = np.load(data_folder / "labels" / "less_C.npz")["minilm"].astype(np.float32)
    rng = np.random.default_rng(0)
    alien = np.flatnonzero(kind == name)
    order = rng.permutation(np.flatnonzero(kind != name))
    seed, reference, fair = order[:40], order[40:-100], order[-100:]
    known = placed(embedding, reference, seed, 100)
    assert drift(placed(embedding, alien, seed, 100), known).found
    assert not drift(placed(embedding, fair, seed, 100), known).found
