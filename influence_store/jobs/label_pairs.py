"""`label` for pairwise methods: a seed of pairs, asked source by source.

base passes for the seed's samples → one source after another against all its targets
→ publish every few seconds, so that a killed run loses one batch and pays for nothing twice
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import polars as pl
import pyarrow as pa
from pyroaring import BitMap

from influence_store.errors import NotFound
from influence_store.influence.design import COMPLETE, DESIGNS
from influence_store.jobs.cells import content_ids
from influence_store.jobs.llm_state import compute_states, read_states, state_producer
from influence_store.jobs.samples import read_samples
from influence_store.progress import progress
from influence_store.schema import tables

if TYPE_CHECKING:
    from influence_store.influence.base import LlmState
    from influence_store.influence.delift import Delift
    from influence_store.jobs.budget import Budget
    from influence_store.protocols import Doubles, Ids, PairwiseInfluence
    from influence_store.schema.catalog import Producer
    from influence_store.schema.sample import Sample
    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

#: Seconds of LLM work between two publications: what a kill can cost.
FLUSH_SECONDS = 20.0
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
        return [
            f"{self.method}: {self.sources:,} sources of {self.dataset} × {self.target_rows:,} "
            f"targets of {self.targets} ({self.design} design)",
            f"  {self.scored:,} pairs scored{null}, {self.reused:,} known already",
            f"  {self.llm_passes:,} LLM passes, {self.llm_tokens:,} tokens, {self.seconds:.0f} s "
            f"({self.seconds_per_pair:.3f} s per pair)",
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
) -> PairsReport:
    """Fill the seed of `method` with sources from `version` and targets from `targets`.

    `design` is a name in `influence.design.DESIGNS`; NotFound for any other. Pairs that are known
    already, from any run or dataset, are not asked again. A pair that does not fit the LLM is
    stored as null, never cut; a sample is never paired with itself.
    """
    began, cpu_began = time.monotonic(), time.process_time()
    check_design(design)
    producer = pairs_producer(store, method)
    params = {"sources": str(version), "targets": str(targets), "seed": seed, "design": design}
    params |= asdict(budget)
    with store.claim("label", label_scope(producer, version, targets), params) as run:
        asking = Asking(store, run, method, producer)
        pace, deadline = 1.0, None
        if budget.minutes is not None:
            few = seed_pairs(store, version, targets, _CALIBRATION_PAIRS, seed, design)
            pace = asking.ask(few, None)
            deadline = began + 60 * budget.minutes
        n_pairs = budget.n_pairs(len(version.bits), len(targets.bits), pace)
        pairs = seed_pairs(store, version, targets, n_pairs, seed, design)
        pace = asking.ask(pairs, deadline)
        took = (time.monotonic() - began, time.process_time() - cpu_began)
        report = asking.report(version, targets, design, pairs, pace, took)
        run.report(report.facts(), method.ledger.facts())
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
    """One run's way through its pairs; counts what was paid for and what was known."""

    def __init__(
        self, store: Store, run: ActiveRun, method: PairwiseInfluence[Any], producer: Producer
    ) -> None:
        self._store, self._run, self._method, self._producer = store, run, method, producer
        self.scored = self.reused = self.null = 0

    def ask(self, pairs: pl.DataFrame, deadline: float | None) -> float:
        """Score the `source`, `target` sids that are not known; return the seconds of one pair."""
        sources = pairs["source"].unique(maintain_order=True).to_numpy()
        targets = pairs["target"].unique(maintain_order=True).to_numpy()
        state = self._prepare(sources, targets)
        places = {sid: k for k, sid in enumerate(targets.tolist())}
        todo = self._unknown(pairs)
        before, began = self.scored, time.monotonic()
        pending: list[pl.DataFrame] = []
        flushed = began
        n_pairs = sum(len(asked) for _, asked in todo)
        with progress("labelling", n_pairs, "pairs") as advance:
            for (source, asked), sample in zip(
                todo, self._samples(np.array([s for s, _ in todo], np.int64)), strict=True
            ):
                values = self._method.score(state, sample, np.array([places[t] for t in asked]))
                pending.append(pl.DataFrame({"source": source, "target": asked, **values}))
                self.scored += len(asked)
                advance(len(asked))
                now = time.monotonic()
                if now - flushed > FLUSH_SECONDS:
                    self._publish(pending)
                    pending, flushed = [], now
                if deadline is not None and now > deadline:
                    break
        self._publish(pending)
        return (time.monotonic() - began) / max(1, self.scored - before)

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
            outputs=self._method.spec.outputs,
            fingerprint=self._producer.fingerprint,
            sources=pairs["source"].n_unique(),
            target_rows=pairs["target"].n_unique(),
            scored=self.scored,
            reused=self.reused,
            null=self.null,
            llm_passes=self._method.ledger.llm_passes,
            llm_tokens=self._method.ledger.llm_tokens,
            seconds=took[0],
            cpu_seconds=took[1],
            seconds_per_pair=pace,
        )

    def _prepare(self, sources: Ids, targets: Ids) -> Any:
        """The method's state for the targets; base passes that it can share are kept as facts."""
        base: LlmState | None = getattr(self._method, "base", None)
        if base is None:
            return self._method.prepare(self._samples(targets))
        producer = state_producer(self._store, base)
        seed = BitMap(sources.astype(np.uint32)) | BitMap(targets.astype(np.uint32))
        compute_states(self._store, self._run, base, producer, seed)
        known = read_states(self._store, producer, targets)
        return cast("Delift", self._method).prepare_from(self._samples(targets), known)

    def _unknown(self, wanted: pl.DataFrame) -> list[tuple[int, list[int]]]:
        """Per source, in the order of the seed, the targets to ask about."""
        known = self._store.pairs(self._producer).select("source", "target")
        todo = wanted.join(known, on=["source", "target"], how="anti", maintain_order="left")
        self.reused += wanted.height - todo.height
        grouped = todo.group_by("source", maintain_order=True).agg("target")
        return [(row["source"], row["target"]) for row in grouped.to_dicts()]

    def _samples(self, sids: Ids) -> list[Sample]:
        found, samples = read_samples(self._store, BitMap(sids.astype(np.uint32)))
        by_sid = dict(zip(found.tolist(), samples, strict=True))
        return [by_sid[sid] for sid in sids.tolist()]

    def _publish(self, pending: list[pl.DataFrame]) -> None:
        if not pending:
            return
        schema = tables.pairs(self._method.spec.outputs)
        frame = pl.concat(pending)
        columns = [
            frame[field.name].fill_nan(None) if field.nullable else frame[field.name]
            for field in schema
        ]
        self.null += columns[-1].null_count()
        batch = pa.record_batch(
            [c.to_arrow().cast(f.type) for c, f in zip(columns, schema, strict=True)], schema=schema
        )
        bits = BitMap(frame["source"].unique().to_numpy().astype(np.uint32))
        block = self._run.stage("pairs", [batch], schema, bits, producer_id=self._producer.id)
        self._run.publish([block], spent=self._method.ledger.facts())
