"""The rows of one version as the sections of a report share them: where each came from, values.

Many sources are told as the most frequent ones and one group for all others, so that a report of
a thousand files stays one that is read.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from influence_store.jobs.attributes import FILE, attributes
from influence_store.report.influence_facts import SourceSpread
from influence_store.report.values import Count, Spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from influence_store.protocols import Doubles, Flags, Ids
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

#: Groups that are told one by one; a chart with more rows is not read.
GROUPS = 12
OTHERS = "(all others)"


@dataclass(frozen=True)
class Rows:
    """`sids` (n,) ascending, and the name of the source that each of them came from, (n,).

    `short` leads from the name of a file, as `ingest` was told it, to the one that is shown.
    """

    version: Version
    sids: Ids
    sources: tuple[str, ...]
    short: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, store: Store, version: Version) -> Rows:
        """The rows of `version`, their files named as shortly as sets them apart."""
        found = attributes(store, version, FILE)
        short = short_names(found)
        return cls(version, version.sids, tuple(short[one] for one in found), short)

    def places(self, sids: Ids) -> Ids:
        """The position among the rows of each of `sids`, all of which must be rows."""
        return np.searchsorted(self.sids, sids)

    def groups(self) -> Iterator[tuple[str, Flags]]:
        """Name and rows (n,) of each source, most frequent first, at most `GROUPS` and others."""
        names = np.array(self.sources, dtype=object)
        shown = [one.name for one in counts(self.sources)]
        for name in shown if len(shown) <= GROUPS + 1 else shown[:GROUPS]:
            yield name, names == name
        if len(shown) > GROUPS + 1:
            yield OTHERS, ~np.isin(names.astype(str), shown[:GROUPS])

    def by_source(self, places: Ids, values: Doubles) -> tuple[SourceSpread, ...]:
        """The spread in each source of `values` (m,), which belong to the rows at `places`."""
        found = ((name, values[rows[places]]) for name, rows in self.groups())
        return tuple(SourceSpread(name, spread(part)) for name, part in found if len(part))


def counts(names: Iterable[str]) -> tuple[Count, ...]:
    """How often each name occurs, most frequent first, ties by name."""
    found = Counter(names).items()
    return tuple(Count(name, n) for name, n in sorted(found, key=lambda one: (-one[1], one[0])))


def short_names(files: Iterable[str]) -> dict[str, str]:
    """Each file by its name, with as many of its folders as set it apart from the others.

    A report may leave the machine; the folders above are nobody else's business.
    """
    parts = {one: one.split("/") for one in sorted(set(files))}
    short = {one: "" for one in parts}
    for depth in range(1, max(map(len, parts.values()), default=0) + 1):
        told = {one: "/".join(path[-depth:]) for one, path in parts.items()}
        often = Counter(told.values())
        short |= {one: name for one, name in told.items() if not short[one] and often[name] == 1}
    return {one: name or one for one, name in short.items()}


def spread(values: Doubles | Sequence[float]) -> Spread:
    """Of at least one finite value, (n,)."""
    found = np.asarray(values, np.float64)
    five = np.percentile(found, [5, 25, 50, 75, 95])
    p5, p25, median, p75, p95 = (float(one) for one in five)
    low, high = float(found.min()), float(found.max())
    return Spread(len(found), float(found.mean()), low, p5, p25, median, p75, p95, high)
