"""Clusters and who stays: against flooding and the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from influence_store.overlap.clusters import Edges, clusters, surplus

PAIRS = st.lists(
    st.tuples(st.integers(0, 14), st.integers(0, 14)).filter(lambda pair: pair[0] != pair[1]),
    max_size=25,
)
SCORES = st.dictionaries(st.integers(0, 14), st.sampled_from([0.0, 1.0, 2.0, float("nan")]))


def edges(pairs, how="words", similarity=0.9):
    a, b = np.array(pairs, np.int64).reshape(-1, 2).T
    return Edges.of([(a, b, np.full(len(a), similarity), how)])


def flooded(pairs):
    """The lowest sid reachable from each."""
    lowest = {sid: sid for pair in pairs for sid in pair}
    for _ in lowest:
        for a, b in pairs:
            lowest[a] = lowest[b] = min(lowest[a], lowest[b])
    return lowest


@settings(deadline=None)
@given(PAIRS)
def test_a_cluster_is_what_edges_connect_and_bears_its_lowest_sid(pairs):
    found = clusters(edges(pairs))
    assert dict(zip(found.sids.tolist(), found.cluster.tolist(), strict=True)) == flooded(pairs)
    assert len(found) == len(set(flooded(pairs).values()))
    sizes = [len(one) for one in found.by_size()]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == len(found.sids)


@settings(deadline=None)
@given(PAIRS, SCORES)
def test_no_two_kept_are_alike_and_each_that_goes_is_like_its_kept_better(pairs, score):
    found = clusters(edges(pairs))
    gone = surplus(found, score, "highest:x")
    alike = {frozenset(pair) for pair in pairs}
    kept = set(found.sids.tolist()) - set(gone.sids.tolist())
    assert not any(pair <= kept for pair in alike)

    def rank(sid):
        value = score.get(sid, float("nan"))
        return (np.isnan(value), -value if value == value else 0, sid)

    for sid, instead in zip(gone.sids.tolist(), gone.instead.tolist(), strict=True):
        assert instead in kept
        assert frozenset((sid, instead)) in alike
        assert rank(instead) < rank(sid)


def test_of_a_chain_the_ends_stay_when_they_come_first():
    found = clusters(edges([(1, 2), (2, 3)]))
    assert surplus(found, None, "keep-first").sids.tolist() == [2]
    assert surplus(found, {2: 5.0}, "highest:x").sids.tolist() == [1, 3]


def test_a_reason_is_the_strongest_edge_to_the_row_that_stays():
    both = Edges.of(
        [
            (np.array([4, 5]), np.array([1, 1]), np.array([0.85, 0.99]), "words"),
            (np.array([4]), np.array([1]), np.array([0.97]), "twins"),
        ]
    )
    gone = surplus(clusters(both), None, "keep-first")
    assert gone.sids.tolist() == [4, 5]
    assert gone.instead.tolist() == [1, 1]
    assert gone.how.tolist() == ["twins", "words"]
    assert gone.similarity.tolist() == [0.97, 0.99]
    assert gone.reasons == {"twins": 1, "words": 1}
    assert set(gone.bits) == {4, 5}


@pytest.mark.parametrize("nothing", [Edges.of([]), edges([])])
def test_without_edges_there_are_no_clusters_and_nothing_goes(nothing):
    found = clusters(nothing)
    assert len(found) == len(found.sids) == len(found.by_size()) == 0
    assert len(surplus(found, None, "keep-first").bits) == 0
