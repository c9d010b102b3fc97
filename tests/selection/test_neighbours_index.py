"""The neighbour index against brute force: lists, ties, arrival in parts, threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from influence_store.selection.neighbours.cells import Cells, default_cells, train_cells
from influence_store.selection.neighbours.index import Neighbours, build_neighbours
from influence_store.selection.neighbours.search import Lists, enter, search

STEP = 2.0**-22


def unit(values):
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def clustered(n, d=48, clusters=30, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clusters, d))
    return unit(centres[rng.integers(clusters, size=n)] + 0.7 * rng.normal(size=(n, d)))


def cosine(vectors):
    wide = vectors.astype(np.float64)
    return np.rint(wide @ wide.T / STEP) * STEP


def brute(vectors, k):
    values = cosine(vectors)
    order = np.argsort(-values, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(values, order, axis=1)


def recall(found, true):
    return (found.index[:, :, None] == true.index[:, None, :]).any(axis=2).mean()


def in_parts(vectors, cells, k, parts):
    """The lists when the rows come part by part, each searched against all that came before."""
    lists = Lists.empty(len(vectors), k)
    here = np.zeros(0, np.int64)
    for part in parts:
        known = np.sort(np.concatenate([here, part]))  # positions among what has come so far
        place = np.full(len(vectors) + 1, -1, np.int32)
        place[known] = np.arange(len(known))
        back = np.append(known, -1)
        so_far = Lists(place[lists.sources[known]], lists.values[known])
        rows, come = place[np.sort(part)].astype(np.int64), vectors[known]
        found = search(come, cells.of(come), cells, rows, k, known=so_far)
        so_far.sources[found.rows] = found.lists.sources
        so_far.values[found.rows] = found.lists.values
        enter(so_far, found.edges)
        lists.sources[known], lists.values[known] = back[so_far.sources], so_far.values
        here = known
    return lists


@pytest.mark.parametrize(("cells", "probes"), [(1, 1), (7, 7), (7, 30)])
@pytest.mark.parametrize("k", [1, 5, 64])
def test_with_all_cells_searched_lists_are_those_of_brute_force(cells, probes, k):
    vectors = clustered(700)
    found = build_neighbours(vectors, k=k, cells=cells, probes=probes)
    index, similarity = brute(vectors, k)
    assert np.array_equal(found.index, index)
    assert np.array_equal(found.similarity, similarity)
    assert np.array_equal(found.reach, similarity[:, -1])
    assert np.array_equal(found.index[:, 0], np.arange(700))


def test_products_in_float32_alone_would_list_others():
    """Many near-ties: what makes exact values worth their time."""
    rng = np.random.default_rng(1)
    vectors = unit(rng.normal(size=(1, 384)) + 2e-4 * rng.normal(size=(500, 384)))
    index, _ = brute(vectors, 20)
    assert np.array_equal(build_neighbours(vectors, k=20).index, index)
    by_float32 = np.argsort(-(vectors @ vectors.T), axis=1, kind="stable")[:, :20]
    assert not np.array_equal(by_float32, index)


def test_equal_samples_are_listed_lowest_position_first_even_more_than_k_of_them():
    vectors = clustered(300)
    vectors[50:150] = vectors[50]
    found = build_neighbours(vectors, k=16)
    assert np.array_equal(found.index[50:150], np.tile(np.arange(50, 66), (100, 1)))
    assert (found.similarity[50:150] == 1).all()
    assert np.array_equal(found.index, brute(vectors, 16)[0])


def test_fewer_rows_than_k_are_all_listed_and_the_rest_stays_empty():
    vectors = clustered(6)
    found = build_neighbours(vectors, k=10)
    assert np.array_equal(found.index[:, :6], brute(vectors, 6)[0])
    assert (found.index[:, 6:] == -1).all()
    assert np.isneginf(found.similarity[:, 6:]).all()
    assert np.array_equal(found.reach, cosine(vectors).min(axis=1))
    alone = build_neighbours(vectors[:1], k=3)
    assert alone.index.tolist() == [[0, -1, -1]]


@pytest.mark.parametrize("cells", [1, 40])
def test_the_index_does_not_depend_on_the_number_of_threads(cells):
    vectors = clustered(4000)
    one = build_neighbours(vectors, k=8, cells=cells, probes=5, threads=1)
    two = build_neighbours(vectors, k=8, cells=cells, probes=5, threads=2)
    assert np.array_equal(one.index, two.index)
    assert np.array_equal(one.similarity, two.similarity)


def test_a_few_cells_next_door_name_most_neighbours_and_more_probes_name_more():
    vectors = clustered(4000, clusters=40)
    true = build_neighbours(vectors, k=16, cells=1)
    few = build_neighbours(vectors, k=16, cells=40, probes=2)
    more = build_neighbours(vectors, k=16, cells=40, probes=8)
    assert recall(more, true) > 0.95
    assert recall(few, true) < recall(more, true)
    assert (more.reach <= true.reach).all()
    listed = cosine(vectors)[np.arange(4000)[:, None], more.index]
    assert np.array_equal(listed, more.similarity)


@pytest.mark.parametrize(("cells", "probes"), [(1, 1), (25, 3)])
def test_rows_that_come_in_parts_get_the_lists_of_one_search_to_the_last_bit(cells, probes):
    vectors = clustered(1500)
    vectors[700:760] = vectors[20]  # twins on both sides of the border
    trained = train_cells(vectors[:800], cells, probes, seed=3)
    whole = search(vectors, trained.of(vectors), trained, np.arange(1500), 12).lists
    shuffled = np.random.default_rng(5).permutation(1500)
    for rows in (np.arange(1500), shuffled):
        parts = np.split(rows, [800, 803, 1100])
        lists = in_parts(vectors, trained, 12, parts)
        assert np.array_equal(lists.sources, whole.sources)
        assert np.array_equal(lists.values, whole.values)


def test_cells_made_before_half_of_the_rows_came_find_nearly_as_many_neighbours():
    vectors = clustered(4000, clusters=40)
    true = build_neighbours(vectors, k=16, cells=1)
    old, new = (train_cells(vectors[:n], 40, 8, seed=0) for n in (2000, 4000))
    of_old, of_new = (
        Neighbours.of(
            search(vectors, one.of(vectors), one, np.arange(4000), 16).lists,
            one.typical(vectors),
            {},
        )
        for one in (old, new)
    )
    assert recall(of_old, true) > recall(of_new, true) - 0.02


def test_rows_from_another_part_of_space_are_found_by_old_cells_too():
    old, new = clustered(1000, seed=0), clustered(500, seed=99)
    vectors = np.concatenate([old, new])
    cells = train_cells(old, 10, 3, seed=0)
    lists = in_parts(vectors, cells, 8, [np.arange(1000), np.arange(1000, 1500)])
    found = Neighbours.of(lists, cells.typical(vectors), {})
    assert recall(found, build_neighbours(vectors, k=8)) > 0.7


def test_a_known_list_only_ever_gets_better():
    vectors = clustered(900)
    cells = train_cells(vectors[:600], 12, 2, seed=0)
    before = in_parts(vectors, cells, 6, [np.arange(600)])
    after = in_parts(vectors, cells, 6, [np.arange(600), np.arange(600, 900)])
    assert (after.values[:600] >= before.values[:600]).all()
    assert (after.values[:600] > before.values[:600]).any()


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 40),
    k=st.integers(1, 45),
    cells=st.integers(1, 5),
    cut=st.integers(0, 40),
    seed=st.integers(0, 10_000),
)
def test_whatever_the_sizes_parts_and_brute_force_agree(n, k, cells, cut, seed):
    rng = np.random.default_rng(seed)
    vectors = unit(rng.integers(-1, 2, size=(n, 3)) + np.array([0.0, 0.0, 1.5]))  # full of ties
    trained = train_cells(vectors, min(cells, n), cells, seed=seed)
    order = rng.permutation(n)
    parts = [part for part in (order[:cut], order[cut:]) if len(part)]
    lists = in_parts(vectors, trained, k, parts)
    index, similarity = brute(vectors, k)
    assert np.array_equal(lists.sources[:, : index.shape[1]], index)
    assert np.array_equal(lists.values[:, : index.shape[1]], similarity)
    assert (lists.sources[:, index.shape[1] :] == -1).all()


def test_cells_search_each_other_or_not_at_all():
    vectors = clustered(2000)
    searched = train_cells(vectors, 30, 4, seed=0).searched()
    assert all(own[0] == cell for cell, own in enumerate(searched))
    assert all(len(own) >= 4 for own in searched)
    assert all(cell in searched[other] for cell, own in enumerate(searched) for other in own)


def test_a_sample_belongs_to_the_nearest_centroid():
    vectors = clustered(5000)
    cells = train_cells(vectors, 20, 3, seed=0)
    assert np.allclose(np.linalg.norm(cells.centroids, axis=1), 1, atol=1e-6)
    own = np.einsum("nd,nd->n", vectors, cells.centroids[cells.of(vectors)])
    assert (own >= (vectors @ cells.centroids.T).max(axis=1) - 1e-6).all()
    chance = Cells(vectors[:20], vectors[0], 3)
    assert own.mean() > np.einsum("nd,nd->n", vectors, vectors[chance.of(vectors)]).mean()


def test_more_cells_than_different_samples_leave_some_empty():
    vectors = np.repeat(clustered(3), 20, axis=0)
    found = build_neighbours(vectors, k=20, cells=10, probes=1)
    assert np.array_equal(found.index // 20, np.repeat(np.arange(60) // 20, 20).reshape(60, 20))


def test_typical_is_the_mean_similarity_to_all():
    vectors = clustered(300)
    typical = build_neighbours(vectors, k=4).typical
    assert np.allclose(typical, cosine(vectors).mean(axis=1), atol=1e-6)
    assert np.array_equal(np.rint(typical / STEP) * STEP, typical)


def test_small_sets_have_one_cell_and_are_exact():
    assert default_cells(20_000) == 1
    assert default_cells(1_000_000) == 2000


def test_wrong_vectors_and_sizes_are_refused():
    vectors = clustered(10)
    with pytest.raises(ValueError, match="1 vectors are not of length 1, the first at position 4"):
        build_neighbours(np.where(np.arange(10)[:, None] == 4, np.float32(2), 1) * vectors)
    with pytest.raises(ValueError, match="not of length 1"):
        build_neighbours(np.full((3, 2), np.nan, np.float32))
    with pytest.raises(ValueError, match="float64"):
        build_neighbours(vectors.astype(np.float64))
    with pytest.raises(ValueError, match="n > 0"):
        build_neighbours(vectors[:0])
    with pytest.raises(ValueError, match="at least one neighbour"):
        build_neighbours(vectors, k=0)
    with pytest.raises(ValueError, match="11 cells for 10 vectors"):
        build_neighbours(vectors, cells=11)
    with pytest.raises(ValueError, match="own cell"):
        build_neighbours(vectors, probes=0)
