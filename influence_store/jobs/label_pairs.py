"""`label` for pairwise methods: a seed of pairs, asked source by source.

base passes for the seed's samples → sources in shards by count, each against all its targets
→ published as they come, so that a killed run loses one shard and pays for nothing twice
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from pyroaring import BitMap

from influence_store.counted import counted
from influence_store.errors import NotFound, UsageError
from influence_store.execution import LOCAL, StoreAt, spread
from influence_store.influence.design import COMPLETE, DESIGNS
from influence_store.jobs.ask_pairs import AskingPairs, BaseShard, Hands, PairsShard
from influence_store.jobs.cells import content_ids
from influence_store.jobs.label_shards import added, in_time, shard_sizes
from influence_store.jobs.llm_state import CHUNK_ROWS, state_producer
from influence_store.jobs.samples import chunks
from influence_store.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from influence_store.execution import Executor
    from influence_store.jobs.ask_pairs import Answered
    from influence_store.jobs.budget import Budget
    from influence_store.jobs.label_shards import MethodsAt
    from influence_store.protocols import Doubles, PairwiseInfluence
    from influence_store.schema.catalog import Producer
    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

#: Pairs per published block, from the first to the largest, to the end of a source.
LEAST_PAIRS, MOST_PAIRS = 16, 4096
#: Pairs timed before `--minutes` is turned into a number of pairs.
_CALIBRATION_PAIRS = 64


@dataclass(frozen=True)
class PairsReport:
    """`scored` pairs cost an LLM pass now, `reused` were known, `null` could not be scored."""

    dataset: str
    targets: str
    method: str
    design: str
    outputs: tuple[str, ...]
    fingerprint: str
    sources: int
    target_rows: int
    scored: int
    reused: int
    null: int
    llm_passes: int
    llm_tokens: int
    seconds: float
    cpu_seconds: float
    seconds_per_pair: float

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people: what the LLM was asked and what it cost."""
        null = f", {self.null:,} null (too long for the LLM)" if self.null else ""
        # Besides the pairs each row may have been read alone, which `seconds` holds, too.
        rest = max(0.0, self.seconds - self.seconds_per_pair * self.scored)
        pace = f" ({self.seconds_per_pair:.3f} s per pair, {rest:.0f} s besides)"
        return [
            f"{self.method}: {counted(self.sources, 'source')} of {self.dataset} × "
            f"{counted(self.target_rows, 'target')} of {self.targets} ({self.design} design)",
            f"  {counted(self.scored, 'pair')} scored{null}, {self.reused:,} known already",
            f"  {counted(self.llm_passes, 'LLM pass')}, {counted(self.llm_tokens, 'token')}, "
            f"{self.seconds:.0f} s{pace if self.scored else ''}",
        ]


def label_pairs(
    store: Store,
    version: Version,
    targets: Version,
    method: PairwiseInfluence[Any],
    budget: Budget,
    seed: int,
    *,
    design: str = COMPLETE,
    executor: Executor = LOCAL,
    sent: MethodsAt | None = None,
) -> PairsReport:
    """Fill the seed of `method` with sources from `version` and targets from `targets`.

    `design` is a name in `influence.design.DESIGNS`; NotFound for any other. Pairs that are known
    already, from any run or dataset, are not asked again. A pair that does not fit the LLM is
    stored as null, never cut; a sample is never paired with itself. UsageError for a method that
    an `executor` elsewhere cannot be sent: `sent` says how its workers open it.
    """
    began, cpu_began = time.monotonic(), time.process_time() + executor.taken.cpu
    check_design(design)
    producer = pairs_producer(store, method)
    params = {"sources": str(version), "targets": str(targets), "seed": seed, "design": design}
    params |= asdict(budget)
    with store.claim("label", label_scope(producer, version, targets), params) as run:
        asking = Asking(store, run, method, producer, executor, sent)
        sizes = len(version.bits), len(targets.bits)

        def first(n_pairs: int) -> pl.DataFrame:
            return seed_pairs(store, version, targets, n_pairs, seed, design)

        pace, deadline = 1.0, None
        if budget.minutes is not None:
            deadline = began + 60 * budget.minutes
            pace = _measured_pace(asking, first, math.prod(sizes), deadline)
        pairs = first(budget.n_pairs(*sizes, pace))
        pace = asking.ask(pairs, deadline)
        cpu = time.process_time() + executor.taken.cpu - cpu_began
        took = (time.monotonic() - began, cpu)
        report = asking.report(version, targets, design, pairs, pace, took)
        run.report(report.facts(), asking.spent)
    return report


def pairs_producer(store: Store, method: PairwiseInfluence[Any]) -> Producer:
    """The producer row of a pairwise method with this model, template and cut."""
    spec = method.spec
    return store.producer("pairs", spec.name, method.facts, higher_means=spec.higher_means)


def label_scope(producer: Producer, version: Version, targets: Version) -> str:
    """What one labelling run holds alone: a method between two datasets."""
    return f"label:{producer.fingerprint}:{version.dataset}:{targets.dataset}"


def check_design(design: str, *others: str) -> None:
    """NotFound, with the names that exist, unless `design` is one or one of `others`."""
    if design not in (*DESIGNS, *others):
        raise NotFound.named("design", design, [*DESIGNS, *others])


def seed_pairs(
    store: Store, version: Version, targets: Version, n_pairs: int, seed: int, design: str
) -> pl.DataFrame:
    """The seed's pairs as sids `source`, `target`, source by source; none with itself."""
    source_ids, target_ids = content_ids(store, version.sids), content_ids(store, targets.sids)
    sources, rows = DESIGNS[design](source_ids, target_ids, n_pairs, seed)
    pairs = pl.DataFrame({"source": version.sids[sources], "target": targets.sids[rows]})
    return pairs.filter(pl.col("source") != pl.col("target"))


def known_pairs(store: Store, method: PairwiseInfluence[Any], pairs: pl.DataFrame) -> int:
    """How many of `pairs` have a value already; registers nothing."""
    producer = store.find_producer("pairs", method.spec.name, method.facts)
    if producer is None:
        return 0
    known = store.pairs(producer).select("source", "target")
    return pairs.join(known, on=["source", "target"], how="semi").height


class Asking:
    """One run's way through its pairs; counts what was paid for and what was known.

    `sent` says how workers open the method; None for one that was given, which is asked here.
    """

    def __init__(
        self,
        store: Store,
        run: ActiveRun,
        method: PairwiseInfluence[Any],
        producer: Producer,
        executor: Executor = LOCAL,
        sent: MethodsAt | None = None,
    ) -> None:
        base = getattr(method, "base", None)
        if executor.elsewhere and (base is None or sent is None):
            raise UsageError(
                f"{producer.name} keeps nothing that workers could share",
                hint="leave --engine out",
            )
        self._store, self._run, self._producer, self._executor = store, run, producer, executor
        self._outputs = method.spec.outputs
        self._base = None if base is None else state_producer(store, base)
        self._hands = Hands(store, method, producer, self._base)
        prints = (producer.fingerprint, self._base.fingerprint if self._base else "")
        self._work = AskingPairs(StoreAt.of(store), sent, prints)
        self.scored = self.reused = self.null = 0
        self.spent: dict[str, int] = {}

    def ask(self, pairs: pl.DataFrame, deadline: float | None) -> float:
        """Score the `source`, `target` sids that are not known; return the seconds of one pair."""
        served = tuple(pairs["target"].unique(maintain_order=True).to_list())
        todo = self._unknown(pairs)
        if self._base is not None:
            self._base_passes(pairs)
        n_pairs, before, seconds = sum(len(asked) for _, asked in todo), self.scored, 0.0
        with progress("labelling", n_pairs, "pairs") as advance:
            for done in self._answers(_shards(todo, served, deadline)):
                seconds += done.seconds
                self.scored += done.block.n_rows
                self.null += done.null
                advance(done.block.n_rows)
        asked = self.scored - before
        return seconds / asked / self._executor.workers if asked else 0.0

    def values(self, pairs: pl.DataFrame, output: str) -> Doubles:
        """The stored values of `pairs`, in their order, (p,); NaN where null or not asked yet."""
        known = self._store.pairs(self._producer).select("source", "target", output)
        found = pairs.join(known, on=["source", "target"], how="left", maintain_order="left")
        return found[output].cast(pl.Float64).fill_null(float("nan")).to_numpy()

    def report(
        self,
        version: Version,
        targets: Version,
        design: str,
        pairs: pl.DataFrame,
        pace: float,
        took: tuple[float, float],
    ) -> PairsReport:
        """What became of `pairs`, all that this run wanted to know; `took` wall and CPU seconds."""
        return PairsReport(
            dataset=str(version),
            targets=str(targets),
            method=self._producer.name,
            design=design,
            outputs=self._outputs,
            fingerprint=self._producer.fingerprint,
            sources=pairs["source"].n_unique(),
            target_rows=pairs["target"].n_unique(),
            scored=self.scored,
            reused=max(0, self.reused),  # the time may allow fewer than were timed
            null=self.null,
            llm_passes=self.spent.get("llm_passes", 0),
            llm_tokens=self.spent.get("llm_tokens", 0),
            seconds=took[0],
            cpu_seconds=took[1],
            seconds_per_pair=pace,
        )

    def _base_passes(self, pairs: pl.DataFrame) -> None:
        """Read samples once alone where nobody has; what that gives is kept as facts."""
        assert self._base is not None
        assert self._base.id is not None
        sids = pl.concat([pairs["source"], pairs["target"]]).unique().to_numpy()
        missing = BitMap(sids.astype(np.uint32)) - self._store.covered(self._base.id)
        for _ in self._answers(BaseShard(part) for part in chunks(missing, CHUNK_ROWS)):
            pass

    def _answers(self, shards: Iterable[BaseShard | PairsShard]) -> Iterator[Answered]:
        """What came of each shard, once it is published."""
        for done in spread(self._executor, self._run, self._work, shards, self._hands):
            self.spent = added(self.spent, done.spent)
            self._run.publish([done.block], spent=self.spent)
            yield done

    def _unknown(self, wanted: pl.DataFrame) -> list[tuple[int, tuple[int, ...]]]:
        """Per source, in the order of the seed, the targets to ask about."""
        known = self._store.pairs(self._producer).select("source", "target")
        todo = wanted.join(known, on=["source", "target"], how="anti", maintain_order="left")
        self.reused += wanted.height - todo.height
        grouped = todo.group_by("source", maintain_order=True).agg("target")
        return [(row["source"], tuple(row["target"])) for row in grouped.to_dicts()]


def _measured_pace(
    asking: Asking, first: Callable[[int], pl.DataFrame], most: int, deadline: float
) -> float:
    """Seconds of one pair among the `first` few that are not known; 0 if all `most` are."""
    few = _CALIBRATION_PAIRS
    while not (pace := asking.ask(first(few), deadline)) and few < most:
        few *= 4
    # Counted again with all that the time allows; what this run scored was not known before.
    asking.reused = -asking.scored
    return pace


def _shards(
    todo: Sequence[tuple[int, tuple[int, ...]]], served: tuple[int, ...], deadline: float | None
) -> Iterator[PairsShard]:
    """Whole sources, as one is read once for all its targets; one shard, then more in time."""
    left = iter(todo)
    for size in shard_sizes(LEAST_PAIRS, MOST_PAIRS):
        asked: list[tuple[int, tuple[int, ...]]] = []
        while sum(len(targets) for _, targets in asked) < size:
            if (source := next(left, None)) is None:
                break
            asked.append(source)
        if not asked:
            return
        yield PairsShard(tuple(asked), served)
        if not in_time(deadline):
            return
