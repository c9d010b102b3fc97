"""`label`: ask a real LLM about a seed of pairs; every value is a fact, kept forever.

base passes for the seed's samples → one source after another against all its targets
→ publish every few seconds, so that a killed run loses one batch and pays for nothing twice
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
from pyroaring import BitMap

from influence_store.errors import UsageError
from influence_store.influence import METHODS
from influence_store.influence.design import column_design
from influence_store.influence.llm import load_llm
from influence_store.jobs.llm_state import compute_states, read_states, state_producer
from influence_store.jobs.samples import read_samples
from influence_store.progress import progress
from influence_store.schema import tables

if TYPE_CHECKING:
    from pathlib import Path

    from influence_store.influence.delift import Delift
    from influence_store.protocols import Ids
    from influence_store.schema.catalog import Producer
    from influence_store.schema.sample import Sample
    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store, Version

#: Seconds of LLM work between two publications: what a kill can cost.
FLUSH_SECONDS = 20.0
#: Pairs timed before `--minutes` is turned into a number of pairs.
_CALIBRATION_PAIRS = 64


@dataclass(frozen=True)
class Budget:
    """How many pairs to ask for; exactly one of the three is set.

    `share` is a share of the rows *and* of the columns, as in NN-CIFT: 0.05 asks for 0.25 % of
    all pairs. `minutes` limits the wall time of the pair passes.
    """

    pairs: int | None = None
    share: float | None = None
    minutes: float | None = None

    @classmethod
    def of(cls, *, pairs: int | None, share: str | None, minutes: float | None) -> Budget:
        """From the command line; UsageError unless exactly one is given."""
        if sum(value is not None for value in (pairs, share, minutes)) != 1:
            raise UsageError(
                "say how much to label", hint="one of --pairs 2000, --share 5%, --minutes 10"
            )
        return cls(pairs, None if share is None else _share(share), minutes)

    def n_pairs(self, n_sources: int, n_targets: int, seconds_per_pair: float) -> int:
        """The number of pairs this budget pays for."""
        if self.share is not None:
            return max(1, round(self.share * n_sources)) * max(1, round(self.share * n_targets))
        if self.minutes is not None:
            return int(self.minutes * 60 / seconds_per_pair)
        return self.pairs or 0


@dataclass(frozen=True)
class LabelReport:
    """`scored` pairs cost an LLM pass now, `reused` were known, `null` could not be scored."""

    dataset: str
    targets: str
    method: str
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
    seconds_per_pair: float

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people: what the LLM was asked and what it cost."""
        null = f", {self.null:,} null (too long for the LLM)" if self.null else ""
        return [
            f"{self.method}: {self.sources:,} sources of {self.dataset} × {self.target_rows:,} "
            f"targets of {self.targets}",
            f"  {self.scored:,} pairs scored{null}, {self.reused:,} known already",
            f"  {self.llm_passes:,} LLM passes, {self.llm_tokens:,} tokens, {self.seconds:.0f} s "
            f"({self.seconds_per_pair:.3f} s per pair)",
        ]


def label(
    store: Store, version: Version, targets: Version, method: Delift, budget: Budget, seed: int
) -> LabelReport:
    """Fill the seed of `method` with sources from `version` and targets from `targets`.

    Pairs that are known already, from any run or dataset, are not asked again. A pair that does
    not fit the LLM is stored as null, never cut; a sample is never paired with itself.
    """
    began = time.monotonic()
    producer = pairs_producer(store, method)
    scope = f"label:{producer.fingerprint}:{version.dataset}:{targets.dataset}"
    params = {"sources": str(version), "targets": str(targets), "seed": seed, **asdict(budget)}
    with store.claim("label", scope, params) as run:
        asking = _Asking(store, run, method, producer)
        pace, deadline = 1.0, None
        if budget.minutes is not None:
            pace = asking.ask(*_seed(store, version, targets, _CALIBRATION_PAIRS, seed), None)
            deadline = began + 60 * budget.minutes
        n_pairs = budget.n_pairs(len(version.bits), len(targets.bits), pace)
        sources, rows = _seed(store, version, targets, n_pairs, seed)
        pace = asking.ask(sources, rows, deadline)
        seconds = time.monotonic() - began
        report = LabelReport(
            dataset=str(version),
            targets=str(targets),
            method=producer.name,
            outputs=method.spec.outputs,
            fingerprint=producer.fingerprint,
            sources=len(sources),
            target_rows=len(rows),
            scored=asking.scored,
            reused=asking.reused,
            null=asking.null,
            llm_passes=method.ledger.llm_passes,
            llm_tokens=method.ledger.llm_tokens,
            seconds=seconds,
            seconds_per_pair=pace,
        )
        run.report(report.facts(), {**method.ledger.facts(), "seconds": seconds})
    return report


def label_with(
    store: Store,
    version: Version,
    targets: Version,
    name: str,
    model: str,
    budget: Budget,
    seed: int,
    *,
    cache: Path,
    max_response_tokens: int | None = None,
    max_len: int | None = None,
) -> LabelReport:
    """`label` with the method called `name` on the LLM at `model`, loaded now."""
    method = METHODS.get(name)
    if not hasattr(method, "prepare"):
        raise UsageError(
            f"{name} needs no labels: its values are products of stored vectors",
            hint=f"use it at once: influence-store select {version.dataset} --kernel cosine …",
        )
    llm = load_llm(model, cache=cache, max_len=max_len)
    teacher = method(llm, max_response_tokens=max_response_tokens)
    return label(store, version, targets, teacher, budget, seed)


def _share(text: str) -> float:
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise UsageError(f"--share {text!r} is not a share", hint="for example: --share 5%")
    return share


def pairs_producer(store: Store, method: Delift) -> Producer:
    """The producer row of a pairwise method with this model, template and cut."""
    spec = method.spec
    return store.producer("pairs", spec.name, method.facts, higher_means=spec.higher_means)


def _seed(
    store: Store, version: Version, targets: Version, n_pairs: int, seed: int
) -> tuple[Ids, Ids]:
    """Sids of the seed's sources and of its targets."""
    ids = store.sample_ids()
    by_sid = dict(zip(ids["sid"].to_list(), ids["sample_id"].to_list(), strict=True))
    sources, rows = column_design(
        [by_sid[sid] for sid in version.sids.tolist()],
        [by_sid[sid] for sid in targets.sids.tolist()],
        n_pairs,
        seed,
    )
    return version.sids[sources], targets.sids[rows]


class _Asking:
    """One run's way through its seed pairs; counts what was paid for and what was known."""

    def __init__(self, store: Store, run: ActiveRun, method: Delift, producer: Producer) -> None:
        self._store, self._run, self._method, self._producer = store, run, method, producer
        self._states = state_producer(store, method.base)
        self.scored = self.reused = self.null = 0

    def ask(self, sources: Ids, targets: Ids, deadline: float | None) -> float:
        """Score all pairs that are not known yet; return the seconds that one pair took."""
        seed = BitMap(sources.astype(np.uint32)) | BitMap(targets.astype(np.uint32))
        compute_states(self._store, self._run, self._method.base, self._states, seed)
        base = read_states(self._store, self._states, targets)
        state = self._method.prepare_from(self._samples(targets), base)
        places = {sid: k for k, sid in enumerate(targets.tolist())}
        todo = self._unknown(sources, targets)
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

    def _unknown(self, sources: Ids, targets: Ids) -> list[tuple[int, list[int]]]:
        """Per source, in the order of the seed, the targets to ask about."""
        known = self._store.pairs(self._producer).select("source", "target")
        wanted = pl.DataFrame({"source": sources}).join(
            pl.DataFrame({"target": targets}), how="cross"
        )
        wanted = wanted.filter(pl.col("source") != pl.col("target"))
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
