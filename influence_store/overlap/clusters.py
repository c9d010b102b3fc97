"""Which rows say the same, and which of them stays?

Edges are facts about two rows; a cluster is what a set of rows makes of them: its connected
components (single linkage), named after the lowest sid. Which rows are surplus is a stricter
question, since a chain a ~ b ~ c need not mean a ~ c: in the order of a policy a row stays unless
it is *directly* a near duplicate of one that stays already. So every dropped row has a near
duplicate among the kept, and no two of the kept are near duplicates.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pyroaring import BitMap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from influence_store.protocols import Doubles, Flags, Ids


@dataclass(frozen=True)
class Edges:
    """Near-duplicate pairs of sids with their similarity in [0, 1] and how it was found, (n,)."""

    a: Ids
    b: Ids
    similarity: Doubles
    how: npt.NDArray[np.str_]

    @classmethod
    def of(cls, parts: Sequence[tuple[Ids, Ids, Doubles, str]]) -> Edges:
        """Several kinds of edges as one."""
        return cls(
            np.concatenate([np.zeros(0, np.int64), *[part[0] for part in parts]]),
            np.concatenate([np.zeros(0, np.int64), *[part[1] for part in parts]]),
            np.concatenate([np.zeros(0), *[part[2] for part in parts]]),
            np.repeat([part[3] for part in parts], [len(part[0]) for part in parts]).astype(str),
        )

    def __len__(self) -> int:
        return len(self.a)

    def where(self, keep: Flags) -> Edges:
        """Only those that `keep` (n,) says."""
        return Edges(self.a[keep], self.b[keep], self.similarity[keep], self.how[keep])


@dataclass(frozen=True)
class Clusters:
    """Rows with a near duplicate: sids (m,) ascending, each with the lowest sid of its cluster."""

    sids: Ids
    cluster: Ids
    edges: Edges

    def __len__(self) -> int:
        return len(np.unique(self.cluster))

    def by_size(self) -> list[Ids]:
        """The sids of each cluster, the largest first; ties by lowest sid."""
        order = np.lexsort((self.sids, self.cluster))
        names, first = np.unique(self.cluster[order], return_index=True)
        members = np.split(self.sids[order], first[1:]) if len(names) else []
        return sorted(members, key=lambda sids: (-len(sids), int(sids[0])))


@dataclass(frozen=True)
class Surplus:
    """Rows that go: sids (m,) ascending, each with the row that stays instead of it and why.

    `similarity` (m,) and `how` (m,) are those of the edge between the two.
    """

    sids: Ids
    instead: Ids
    similarity: Doubles
    how: npt.NDArray[np.str_]
    policy: str

    @property
    def bits(self) -> BitMap:
        """The rows that go."""
        return BitMap(self.sids.astype(np.uint32))

    @property
    def reasons(self) -> Mapping[str, int]:
        """How many went for which kind of likeness."""
        return dict(sorted(Counter(self.how.tolist()).items()))


def clusters(edges: Edges) -> Clusters:
    """The connected components of `edges`."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    sids, places = np.unique(np.concatenate([edges.a, edges.b]), return_inverse=True)
    a, b = np.split(places, 2)
    graph = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(len(sids), len(sids)))
    _, label = connected_components(graph, directed=False)
    # Sids ascend, so the first row of a component is its lowest sid.
    _, first = np.unique(label, return_index=True)
    return Clusters(sids, sids[first][label], edges)


def surplus(found: Clusters, score: Mapping[int, float] | None, policy: str) -> Surplus:
    """Which rows of `found` go if, of near duplicates, the one with the highest score stays.

    Ties, and all rows where `score` (sid → number, NaN and absent = lowest) is None, go by lowest
    sid. `policy` is only the name of the rule, for the report.
    """
    sids, edges = found.sids, found.edges
    both = np.searchsorted(sids, np.concatenate([edges.a, edges.b]))
    others = np.searchsorted(sids, np.concatenate([edges.b, edges.a]))
    # The neighbours of a row stand together, and of several edges of one pair the strongest first.
    strength = np.tile(edges.similarity, 2)
    order = np.lexsort((-strength, others, both))
    starts = np.searchsorted(both[order], np.arange(len(sids) + 1))
    others = others[order]
    edge = order % max(len(edges), 1)
    instead, by = np.full(len(sids), -1), np.full(len(sids), -1)
    for k in _in_order(sids, score):
        if instead[k] >= 0:
            continue
        near = slice(starts[k], starts[k + 1])
        new = instead[others[near]] < 0
        places, first = np.unique(others[near][new], return_index=True)
        instead[places], by[places] = k, edge[near][new][first]
    gone = np.flatnonzero(instead >= 0)
    return Surplus(
        sids[gone],
        sids[instead[gone]],
        edges.similarity[by[gone]],
        edges.how[by[gone]],
        policy,
    )


def _in_order(sids: Ids, score: Mapping[int, float] | None) -> list[int]:
    if score is None:
        return list(range(len(sids)))
    values = np.array([score.get(sid, float("nan")) for sid in sids.tolist()], np.float64)
    worst_last = np.where(np.isnan(values), np.inf, -values)
    order: list[int] = np.lexsort((sids, worst_last)).tolist()
    return order
