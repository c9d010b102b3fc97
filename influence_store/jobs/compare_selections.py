"""What do two selections share, and where do they part?"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pyroaring import BitMap

from influence_store.jobs.attributes import NONE
from influence_store.jobs.explained import Named
from influence_store.jobs.stored_selection import names_of, stored_selection
from influence_store.query.rows import read_rows

if TYPE_CHECKING:
    from influence_store.jobs.stored_selection import StoredSelection
    from influence_store.store.store import Store


@dataclass(frozen=True)
class SourceShares:
    """Of one file: how many picks only the first has, only the second, and both."""

    file: str
    only_first: int
    only_second: int
    both: int


@dataclass(frozen=True)
class Comparison:
    """Two selections side by side. `jaccard` is shared picks / all picks of either, 0..1.

    The picks are named in rank order, those of both by their rank in the first; `shown` at most.
    """

    first: str
    second: str
    n_only_first: int
    n_only_second: int
    n_both: int
    sources: tuple[SourceShares, ...]
    only_first: tuple[Named, ...]
    only_second: tuple[Named, ...]
    both: tuple[Named, ...]

    @property
    def jaccard(self) -> float:
        """1 for two empty selections."""
        of_either = self.n_only_first + self.n_only_second + self.n_both
        return self.n_both / of_either if of_either else 1.0

    def facts(self) -> dict[str, Any]:
        """JSON-able."""
        return {**asdict(self), "jaccard": self.jaccard}


def compare_selections(store: Store, first: str, second: str, *, shown: int = 50) -> Comparison:
    """Compare the selections whose ids begin so; NotFound or UsageError as `explain` says."""
    one, other = stored_selection(store, first), stored_selection(store, second)
    ours, theirs = BitMap(one.sids.tolist()), BitMap(other.sids.tolist())
    both = ours & theirs
    lists = {
        "only_first": _in_order(one, ours - theirs, shown),
        "only_second": _in_order(other, theirs - ours, shown),
        "both": _in_order(one, both, shown),
    }
    names = names_of(store, {sid for listed in lists.values() for sid, _ in listed})
    named = {
        name: tuple(Named(names.ids[sid], names.prompts[sid], rank) for sid, rank in listed)
        for name, listed in lists.items()
    }
    return Comparison(
        first=one.row.id,
        second=other.row.id,
        n_only_first=len(ours - theirs),
        n_only_second=len(theirs - ours),
        n_both=len(both),
        sources=_by_source(store, one, other),
        **named,
    )


def _in_order(of: StoredSelection, wanted: BitMap, shown: int) -> list[tuple[int, int]]:
    """(sid, rank) of the first of them."""
    ranked = ((sid, k + 1) for k, sid in enumerate(of.sids.tolist()) if sid in wanted)
    return [one for one, _ in zip(ranked, range(shown), strict=False)]


def _by_source(
    store: Store, one: StoredSelection, other: StoredSelection
) -> tuple[SourceShares, ...]:
    """By the file that each selection's own dataset got a pick from; most picks first."""
    ours, theirs = _files(store, one), _files(store, other)
    counted: Counter[tuple[str, str]] = Counter()
    for sid in ours.keys() | theirs.keys():
        side = "both" if sid in ours and sid in theirs else "first" if sid in ours else "second"
        counted[ours.get(sid) or theirs[sid], side] += 1
    files = {file for file, _ in counted}
    shares = [
        SourceShares(file, counted[file, "first"], counted[file, "second"], counted[file, "both"])
        for file in files
    ]
    total = {one.file: one.only_first + one.only_second + one.both for one in shares}
    return tuple(sorted(shares, key=lambda one: (-total[one.file], one.file)))


def _files(store: Store, of: StoredSelection) -> dict[int, str]:
    bits = BitMap(of.sids.tolist())
    table = read_rows(store, bits, ["sid", "file"], {}, of.version.dataset_id)
    files = (file or NONE for file in table["file"].to_pylist())
    return dict(zip(table["sid"].to_pylist(), files, strict=True))
