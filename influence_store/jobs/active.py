"""`label --design active`: ask, fit, see what the selection would be, ask where it may change.

scatter of few pairs → two-step kernel ridge on what is known → a selection → the pairs that may
be a target's best chosen source → … until the budget is spent or the selection has settled

The rounds follow from the data, the seed and the answers alone. A killed or repeated run walks
the same rounds again, pays only for the pairs that are not known, and ends with the same labels.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from influence_store.counted import counted
from influence_store.errors import InputError, UsageError
from influence_store.influence.design import check_budget, scatter
from influence_store.jobs.cells import content_ids
from influence_store.jobs.features import FREE, gather
from influence_store.jobs.kernels import COSINE, choose_kernel
from influence_store.jobs.label_pairs import Asking, PairsReport, label_scope, pairs_producer
from influence_store.network import kernel_ridge
from influence_store.network.acquisition import (
    CANDIDATES,
    Change,
    believed,
    change,
    drawn,
    next_pairs,
    settled,
)
from influence_store.network.features import EMBEDDING
from influence_store.network.labels import usable
from influence_store.schema.identity import content_order
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.optimizers import LazyGreedy
from influence_store.selection.views import ArrayView

if TYPE_CHECKING:
    from influence_store.jobs.budget import Budget
    from influence_store.network.features import Features
    from influence_store.protocols import Doubles, Flags, Ids, PairwiseInfluence
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

#: Beside the names of `influence.design.DESIGNS`.
ACTIVE = "active"
#: Samples of a side that take part, by content order: a fit grows with their cube.
MAX_SIDE = 1000
#: A round asks for this share of what is known. The first takes two pairs per sample, but no more
#: than half of the budget, so a bigger budget continues a smaller one from four per sample on.
GROWTH = 0.25
_FEWEST = 16


@dataclass(frozen=True)
class ActiveReport:
    """`pairs` as for any design; `changes` by round after the first; `stopped` says why.

    `pool` is the number of targets and of sources among which pairs were chosen, out of `sides`;
    `selected` the size of the selection that was watched.
    """

    pairs: PairsReport
    sides: tuple[int, int]
    pool: tuple[int, int]
    selected: int
    changes: tuple[Change, ...]
    stopped: str

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        own: dict[str, Any] = {
            "pool": list(self.pool),
            "selected": self.selected,
            "stopped": self.stopped,
        }
        rounds = [asdict(one) for one in self.changes]
        return {**self.pairs.facts(), **own, "rounds": 1 + len(rounds), "changes": rounds}

    def lines(self) -> list[str]:
        """For people: the cost, and how still the selection stands."""
        told = self.pairs.lines()
        if self.pool != self.sides:
            told.append(
                f"  chosen among {counted(self.pool[0], 'target')} × "
                f"{counted(self.pool[1], 'source')}, drawn by "
                f"content from {self.sides[0]:,} × {self.sides[1]:,}"
            )
        if self.changes:
            last = self.changes[-1]
            told.append(
                f"  {1 + len(self.changes)} rounds; the last one left {last.overlap:.0%} of the "
                f"{self.selected} selected in place ({max(0.0, last.kept):.0%} of their worth)"
            )
        return [*told, f"  stopped: {self.stopped}"]


def label_active(
    store: Store,
    version: Version,
    targets: Version,
    method: PairwiseInfluence[Any],
    budget: Budget,
    seed: int,
    *,
    select_share: float = 0.1,
) -> ActiveReport:
    """Spend `budget` on the pairs that decide which `select_share` of `version` helps `targets`.

    Known pairs cost nothing, yet count as asked. Stops early when the selection has settled.
    Incompatible if samples lack embeddings, UsageError for a share outside 0 … 1 or a budget of
    fewer than 16 pairs, InputError if the first round brings no value.
    """
    began, cpu_began = time.monotonic(), time.process_time()
    if not 0 < select_share < 1:
        raise UsageError(
            f"{select_share} is no share of the sources to select", hint="for example 0.1"
        )
    if budget.minutes is None:
        check_budget(budget.n_pairs(len(version.bits), len(targets.bits), 1.0))
    pool = _pool(store, version, targets, seed)
    producer = pairs_producer(store, method)
    params = {"sources": str(version), "targets": str(targets), "seed": seed, "design": ACTIVE}
    params |= asdict(budget) | {"select_share": select_share}
    with store.claim("label", label_scope(producer, version, targets), params) as run:
        asking = Asking(store, run, method, producer)
        rounds = _Rounds(pool, asking, method.spec.outputs[0], seed)
        changes, stopped = _walk(rounds, version, targets, budget, select_share, began)
        took = (time.monotonic() - began, time.process_time() - cpu_began)
        pace = rounds.pace
        report = ActiveReport(
            asking.report(version, targets, ACTIVE, rounds.asked_pairs(), pace, took),
            sides=(len(targets.bits), len(version.bits)),
            pool=(len(pool.targets), len(pool.sources)),
            selected=pool.size(select_share),
            changes=tuple(changes),
            stopped=stopped,
        )
        run.report(report.facts(), asking.spent)
    return report


def _walk(
    rounds: _Rounds,
    version: Version,
    targets: Version,
    budget: Budget,
    select_share: float,
    began: float,
) -> tuple[list[Change], str]:
    """Round after round: what each changed in the selection, and why they ended."""
    sizes = len(version.bits), len(targets.bits)
    deadline = began + 60 * budget.minutes if budget.minutes is not None else None
    first = max(_FEWEST, min(2 * max(rounds.asked.shape), budget.n_pairs(*sizes, 1.0) // 2))
    rounds.scatter(first, deadline)
    n_pairs = budget.n_pairs(*sizes, rounds.pace)
    changes: list[Change] = []
    before = rounds.selection(select_share)
    while True:
        have = int(rounds.asked.sum())
        if settled(changes):
            return changes, "the selection has settled"
        if not rounds.open.any():
            return changes, "all pairs are asked"
        if deadline is not None and time.monotonic() > deadline:
            return changes, "the time is over"
        if have >= n_pairs:
            return changes, "the budget is spent"
        rounds.ask_where_it_may_change(
            min(n_pairs - have, max(first // 2, round(GROWTH * have))), deadline
        )
        after = rounds.selection(select_share)
        changes.append(change(rounds.kernel, before, after))
        before = after


@dataclass(frozen=True)
class _Pool:
    """Sids of both sides, their content ids, and features of all `sids` (ascending)."""

    sources: Ids
    targets: Ids
    source_ids: list[bytes]
    target_ids: list[bytes]
    sids: Ids
    features: Features

    def size(self, share: float) -> int:
        """How many sources a share is."""
        return max(1, round(share * len(self.sources)))

    def rows(self, sids: Ids) -> Ids:
        """Where `sids` are in the features."""
        return np.searchsorted(self.sids, sids)


def _pool(store: Store, version: Version, targets: Version, seed: int) -> _Pool:
    """The samples that take part, with what an estimator may know about them for free."""
    embedder = choose_kernel(store, [version, targets], COSINE, accept_weak=False).embedder
    sources, source_ids = _side(store, version.sids, seed, "sources")
    aims, target_ids = _side(store, targets.sids, seed, "targets")
    sids = np.union1d(sources, aims)
    features, _ = gather(store, sids, FREE, embedder, None)
    return _Pool(sources, aims, source_ids, target_ids, sids, features)


def _side(store: Store, sids: Ids, seed: int, purpose: str) -> tuple[Ids, list[bytes]]:
    ids = content_ids(store, sids)
    order = content_order(ids, seed, purpose)[:MAX_SIDE]
    return sids[order], [ids[k] for k in order]


class _Rounds:
    """What is known so far, as matrices (n_targets, n_sources) of the pool.

    `asked` has been asked, `open` can still be; `labels` are NaN where there is no value, and
    `kernel` is what a selection would stand on now.
    """

    def __init__(self, pool: _Pool, asking: Asking, output: str, seed: int) -> None:
        self._pool, self._asking, self._output, self._seed = pool, asking, output, seed
        self._rng = np.random.default_rng(seed)
        self._own: Flags = pool.targets[:, None] == pool.sources[None, :]
        self.asked: Flags = np.zeros(self._own.shape, np.bool_)
        self.labels: Doubles = np.full(self._own.shape, np.nan)
        self.estimate: Doubles = np.zeros(self._own.shape)
        self.pace = 0.0

    @property
    def open(self) -> Flags:
        """Pairs not asked yet; a sample is never paired with itself."""
        return ~(self.asked | self._own)

    @property
    def kernel(self) -> Doubles:
        """Labels where there are any, estimates elsewhere."""
        return believed(self.estimate, self.labels)

    def scatter(self, n_pairs: int, deadline: float | None) -> None:
        """The first round: every sample on both sides, as evenly as can be."""
        pool = self._pool
        sources, targets = scatter(pool.source_ids, pool.target_ids, n_pairs, self._seed)
        self._ask(targets, sources, deadline)

    def ask_where_it_may_change(self, n_pairs: int, deadline: float | None) -> None:
        """The next `n_pairs` by `network.acquisition`."""
        draw = drawn(self.estimate, self.labels, self._rng)
        candidates = _greedy(draw, self._pool.size(CANDIDATES))
        asked = self.asked.sum(axis=1)
        self._ask(*next_pairs(draw, self.open, asked, candidates, n_pairs), deadline)

    def selection(self, share: float) -> Ids:
        """The sources that would be selected now."""
        return _greedy(self.kernel, self._pool.size(share))

    def asked_pairs(self) -> pl.DataFrame:
        """All pairs asked so far as sids, source by source."""
        sources, targets = np.nonzero(self.asked.T)
        return self._frame(targets, sources)

    def _ask(self, targets: Ids, sources: Ids, deadline: float | None) -> None:
        """Ask these positions, pairs of one source together, and fit to all that is known."""
        wanted = np.zeros_like(self.asked)
        wanted[targets, sources] = True
        by_source = np.nonzero((wanted & ~self._own).T)[::-1]
        self.asked[by_source] = True
        frame = self._frame(*by_source)
        self.pace = self._asking.ask(frame, deadline)
        self.labels[by_source] = self._asking.values(frame, self._output)
        self._fit()

    def _fit(self) -> None:
        pool = self._pool
        i, j = np.nonzero(~np.isnan(self.labels))
        pairs = usable(
            pool.rows(pool.targets)[i],
            pool.rows(pool.sources)[j],
            self.labels[i, j],
            pool.features.block(EMBEDDING),
        )
        if not len(pairs):
            raise InputError(
                f"none of the first {int(self.asked.sum())} pairs has a value to learn from",
                hint="do the samples fit the LLM? influence-store label … --max-tokens N",
            )
        fitted = kernel_ridge.fit(pairs, pool.features, seed=self._seed)
        x = pool.features.values
        self.estimate = fitted.predict(x[pool.rows(pool.targets)], x[pool.rows(pool.sources)])

    def _frame(self, targets: Ids, sources: Ids) -> pl.DataFrame:
        pool = self._pool
        return pl.DataFrame({"source": pool.sources[sources], "target": pool.targets[targets]})


def _greedy(kernel: Doubles, size: int) -> Ids:
    """Positions of the `size` sources that facility location picks."""
    view = ArrayView(kernel)
    return LazyGreedy().maximize(FacilityLocation(view, float(view.matrix.min())), size).items
