"""Do a dataset's new rows lie where an estimator was taught? What it takes to teach it there.

The reference is the version that the labels were drawn from: the earliest one of the estimator's
dataset that holds most labelled sources, whatever version `train` named. Otherwise training again
without a new label would end the warning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pyroaring import BitMap

from influence_store.jobs.drift_advice import Outside, advise
from influence_store.jobs.learned import learned
from influence_store.network.drift import (
    Drift,
    Place,
    drift,
    place,
    place_in_seed,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.jobs.drift_advice import Advice
    from influence_store.jobs.estimators import Trained
    from influence_store.jobs.learned import Learned
    from influence_store.protocols import Floats, Ids
    from influence_store.schema.catalog import Producer
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

#: Rows of the reference that are compared at most, the fewest that tell 5 % from the highest,
#: and rows that make the surroundings of the others.
REFERENCE_ROWS, LEAST_REFERENCE, PEER_ROWS = 5000, 19, 2000
#: New rows that are read at a time, and rows outside that the advice is worked out on at most.
CHUNK_ROWS, ADVICE_ROWS = 65_536, 4096


@dataclass(frozen=True)
class DriftReport:
    """`drift` of the new rows of `dataset` for one estimator; `advice` where there is drift."""

    dataset: str
    estimator: str
    fingerprint: str
    method: str
    reference: str
    drift: Drift
    advice: Advice | None

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        names = {name: getattr(self, name) for name in ("dataset", "estimator", "fingerprint")}
        advice = vars(self.advice) if self.advice else None
        own = {"method": self.method, "reference_rows": self.reference, "advice": advice}
        return {**names, **own, **self.drift.facts()}

    def lines(self) -> list[str]:
        """For people: one line where all is well, else what is wrong and what mends it."""
        if self.advice is None:
            return [
                f"  {self.estimator} was taught on rows like the {self.drift.rows:,} new ones: "
                f"{self.drift.share:.0%} are outside its labels, {self.drift.expected:.0%} expected"
            ]
        return [
            f"  drift: {self.estimator} was not taught on rows like the new ones",
            *[f"    {line}" for line in self.drift.lines()],
            f"    {self.advice.line(self.dataset, self.method)}",
        ]


def measure_drift(
    store: Store, version: Version, trained: Trained, rows: BitMap | None = None
) -> DriftReport | None:
    """Compare the new rows of `version` (those of `rows`) with what `trained` was taught on.

    New are rows that the version its labels were drawn from does not hold. None if there are
    none that have an embedding. Recorded as a run, so `log` and `status` know it.
    """
    seed = learned(store, trained)
    if seed.version is None:  # it learned elsewhere: only `evaluate` tells whether it fits here
        return None
    drawn_from = _drawn_from(store, seed, seed.version)
    assert trained.embedder.id is not None
    embedded = store.covered(trained.embedder.id)
    labelled = BitMap(seed.sources.astype(np.uint32))
    wanted = version.bits if rows is None else version.bits & rows
    new = (wanted & embedded) - drawn_from.bits - labelled
    if not new:
        return None
    scope = f"drift:{trained.producer.fingerprint}:{version.dataset}"
    params = {"dataset": str(version), "estimator": trained.producer.fingerprint}
    with store.claim("drift", scope, params) as run:
        others = (drawn_from.bits & embedded) - labelled
        compared = _Compared.of(store, trained.embedder, seed.sources, new, others)
        found = compared.drift()
        advice = None
        if found.found:
            outside = compared.outside(found)
            advice = advise(store, version, seed, trained.embedder, outside)
        report = DriftReport(
            dataset=str(version),
            estimator=trained.producer.name,
            fingerprint=trained.producer.fingerprint,
            method=seed.method.name,
            reference=str(drawn_from),
            drift=found,
            advice=advice,
        )
        run.report(report.facts(), {})
    return report


def _drawn_from(store: Store, seed: Learned, learned_on: Version) -> Version:
    """The earliest version of the dataset with at least half of the labelled sources."""
    labelled = BitMap(seed.sources.astype(np.uint32))
    versions = [one for one in store.versions() if one.dataset_id == learned_on.dataset_id]
    return next(
        (one for one in versions if 2 * len(one.bits & labelled) >= len(labelled)), learned_on
    )


@dataclass(frozen=True)
class _Group:
    """Rows that came together: a source of their vectors, and a draw of them to be peers."""

    store: Store
    embedder: Producer
    rows: Ids
    peers: Ids

    def vectors(self, sids: Ids) -> Floats:
        return self.store.vectors(self.embedder, sids)

    def placed(self, seed: Floats) -> Iterator[tuple[Ids, Place]]:
        """Rows and where they lie, a chunk at a time."""
        peers = None
        for start in range(0, len(self.rows), CHUNK_ROWS):
            part = self.rows[start : start + CHUNK_ROWS]
            vectors = self.vectors(part)
            if peers is None:  # rows that fit into one chunk are read once
                at = np.searchsorted(part, self.peers)
                whole = len(part) == len(self.rows)
                peers = vectors[at] if whole else self.vectors(self.peers)
            yield part, place(vectors, part, seed, peers, self.peers)

    def place(self, seed: Floats) -> Place:
        parts = [one for _, one in self.placed(seed)]
        return Place(
            np.concatenate([one.to_seed for one in parts]),
            np.concatenate([one.to_peer for one in parts]),
        )


@dataclass(frozen=True)
class _Compared:
    """New rows, reference rows, and vectors of the labelled sources they are compared with."""

    new: _Group
    reference: _Group
    seed: Floats

    @classmethod
    def of(
        cls, store: Store, embedder: Producer, sources: Ids, new: BitMap, others: BitMap
    ) -> _Compared:
        rows = np.asarray(new.to_array(), np.int64)
        reference = _draw(np.asarray(others.to_array(), np.int64), REFERENCE_ROWS)
        n_peers = min(PEER_ROWS, len(rows), len(reference))
        groups = [_Group(store, embedder, one, _draw(one, n_peers)) for one in (rows, reference)]
        return cls(groups[0], groups[1], store.vectors(embedder, sources))

    def drift(self) -> Drift:
        """Where (nearly) all rows are labelled, the seed is its own reference."""
        new, m = self.new.place(self.seed), len(self.reference.rows)
        if m >= LEAST_REFERENCE or m >= len(self.seed):
            return drift(new, self.reference.place(self.seed))
        return drift(new, place_in_seed(self.seed))

    def outside(self, found: Drift) -> Outside:
        """The new rows that are outside, or a draw of them."""
        sids, limits = [], []
        for part, where in self.new.placed(self.seed):
            far = found.is_outside(where)
            sids.append(part[far])
            limits.append(found.limit(where)[far])
        everyone = np.concatenate(sids)
        drawn = _draw(np.arange(len(everyone)), ADVICE_ROWS)
        return Outside(
            vectors=self.new.vectors(everyone[drawn]),
            limits=np.concatenate(limits)[drawn],
            tolerated=found.tolerated * len(drawn) // len(everyone),
            drawn=len(drawn) < len(everyone),
        )


def _draw(sids: Ids, most: int) -> Ids:
    """A fair draw of `most` sids, ascending; all of them if there are no more."""
    return np.sort(np.random.default_rng(0).permutation(sids)[:most])
