"""`pull`: what another store knows of the samples that are here, without computing it again.

A fact is a content, a producer and a value, and all three have names that hold everywhere: the
hash of the content, the fingerprint of the producer. So the other store's facts about contents
that are here too are copied, whatever dataset or team they came from; texts only of a dataset that
was asked for by name (`pull_dataset`). Every file is checked against the hashes that the other
catalog vouches for before a value is read from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
from pyroaring import BitMap

from influence_store.counted import counted
from influence_store.errors import NotFound, UsageError
from influence_store.jobs.estimators import is_called
from influence_store.jobs.pull_dataset import DatasetPulled, pull_dataset
from influence_store.jobs.pull_estimator import EstimatorPulled, pull_estimators, same_producer
from influence_store.jobs.vouched import check_bytes
from influence_store.progress import progress
from influence_store.schema.catalog import Run
from influence_store.store.grid import open_block

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.protocols import Ids
    from influence_store.schema.catalog import Producer
    from influence_store.store.grid import BlockRef
    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store

#: One row per content; what is pulled of each is the row as it is there.
CELLS = ("embedding", "llm-state", "points", "vectors", "tokens")
PAIRS = "pairs"


@dataclass(frozen=True)
class Column:
    """What was taken of one producer: `pulled` facts are new here, `known` were here already."""

    kind: str
    name: str
    fingerprint: str
    pulled: int
    known: int


@dataclass(frozen=True)
class PullReport:
    """`shared` contents are in both stores; `saved` is what the facts cost where they were made."""

    source: str
    texts: DatasetPulled | None
    shared: int
    columns: tuple[Column, ...]
    estimators: tuple[EstimatorPulled, ...]
    saved: dict[str, float]

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        columns = [vars(one) for one in self.columns]
        estimators = [vars(one) for one in self.estimators]
        texts = self.texts.facts() if self.texts else None
        return {**vars(self), "texts": texts, "columns": columns, "estimators": estimators}

    def lines(self) -> list[str]:
        """For people."""
        told = [*self.texts.lines()] if self.texts else []
        told.append(
            f"{self.source}: {counted(self.shared, 'sample is', 'samples are')} in both stores"
        )
        for one in self.columns:
            known = f", {one.known:,} were here" if one.known else ""
            told.append(
                f"  {one.kind} {one.name} ({one.fingerprint[:12]}): "
                f"{counted(one.pulled, 'fact')}{known}"
            )
        told += [one.line() for one in self.estimators]
        if self.saved:
            spent = ", ".join(
                f"{count:,.0f} {what.replace('_', ' ')}" for what, count in self.saved.items()
            )
            told.append(f"saved what they cost there: about {spent}")
        if not any(one.pulled for one in self.columns):
            told.append("nothing new: every fact it has on these samples is here")
        return told


def pull(
    store: Store,
    other: Store,
    *,
    only: Sequence[str] = (),
    estimators: Sequence[str] = (),
    with_texts: str | None = None,
    named: str | None = None,
) -> PullReport:
    """Copy the facts that `other` has on samples of `store`; what is here already stays.

    The dataset version `with_texts` of `other` comes first, texts and all, as a version of the
    dataset `named` (see `pull_dataset`); so the facts on its samples are copied too.
    `only` names producers (or 6 digits of a fingerprint); all if empty. `estimators` of `other`
    come too where named ("all": every one); they count as unmeasured until `evaluate` has
    compared them with labels here. UsageError if both are one store, NotFound if a name is
    unknown there, IntegrityError if bytes there are not what its catalog vouches for.
    """
    whose = (other.database.store_id(), other.database.role())
    if (store.database.store_id(), store.database.role()) == whose:
        raise UsageError(f"{other.uri} is this very store", hint="name another store")
    wanted = _producers(other, only)
    texts = pull_dataset(store, other, with_texts, named) if with_texts else None
    match = _Match.of(store, other)
    with store.claim("pull", f"pull:{whose[0]}:{whose[1] or ''}", {"sources": other.uri}) as run:
        taken = _Taken(other)
        columns = [_pull_column(store, other, run, producer, match, taken) for producer in wanted]
        brought = pull_estimators(store, other, run, estimators)
        report = PullReport(
            source=other.uri,
            texts=texts,
            shared=len(match.there),
            columns=tuple(one for one in columns if one.pulled or one.known),
            estimators=brought,
            saved=taken.cost(),
        )
        run.report(report.facts(), {})
    return report


@dataclass(frozen=True)
class _Match:
    """The contents that both stores hold: their sids there, ascending, and their sids here."""

    there: Ids
    here: Ids

    @classmethod
    def of(cls, store: Store, other: Store) -> _Match:
        both = store.sample_ids().join(other.sample_ids(), on="sample_id", suffix="_there")
        both = both.sort("sid_there")
        return cls(both["sid_there"].to_numpy(), both["sid"].to_numpy())

    def here_of(self, there: Ids) -> Ids:
        """The sid here of each sid there, −1 where the content is not here."""
        if not len(self.there):
            return np.full(len(there), -1, np.int64)
        place = np.minimum(np.searchsorted(self.there, there), len(self.there) - 1)
        return np.where(self.there[place] == there, self.here[place], -1)


@dataclass
class _Taken:
    """How many rows were taken of what each run there published, and so what they had cost."""

    other: Store
    rows: dict[str, int] = field(default_factory=dict)

    def cost(self) -> dict[str, float]:
        """A run's passes, tokens and embeddings, in proportion to the rows that were taken."""
        saved: dict[str, float] = {}
        with self.other.database.read() as session:
            for id_, taken in self.rows.items():
                run = session.get_one(Run, id_)
                made = self.other.rows_of_run(id_)
                for what in ("llm_passes", "llm_tokens", "embeddings"):
                    if run.cost.get(what) and taken:
                        saved[what] = saved.get(what, 0.0) + run.cost[what] * taken / made
        return saved


def _producers(other: Store, only: Sequence[str]) -> list[Producer]:
    known = [one for kind in (*CELLS, PAIRS) for one in other.producers(kind)]
    for name in only:
        if not any(is_called(one, name) for one in known):
            raise NotFound.named("producer there", name, [one.name for one in known])
    return [one for one in known if not only or any(is_called(one, name) for name in only)]


def _pull_column(
    store: Store, other: Store, run: ActiveRun, there: Producer, match: _Match, taken: _Taken
) -> Column:
    """Every fact of one producer on shared contents that is not here, block by block."""
    blocks = other.blocks(there.kind, producer_id=there.id)
    pulled = known = 0
    here: Producer | None = None
    total = sum(block.n_rows for block in blocks)
    with progress(f"pulling {there.name}", total, "rows") as advance:
        for block in blocks:
            table = _shared_rows(other, block, match)
            if table.num_rows:
                here = here or same_producer(store, other, there)
                fresh = _unknown_here(store, here, table)
                known += table.num_rows - fresh.num_rows
                if fresh.num_rows:
                    _publish(run, other, block, here, fresh)
                    pulled += fresh.num_rows
                    taken.rows[block.run_id] = taken.rows.get(block.run_id, 0) + fresh.num_rows
            advance(block.n_rows)
    return Column(there.kind, there.name, there.fingerprint, pulled, known)


def _shared_rows(other: Store, block: BlockRef, match: _Match) -> pa.Table:
    """The rows of a block there whose contents are here too, with the sids of here, in order."""
    sides = ("source", "target") if block.kind == PAIRS else ("sid",)
    if block.kind != PAIRS and not block.bits & BitMap(match.there.astype(np.uint32)):
        return pa.table({})
    check_bytes(other, block)
    opened = open_block(other.storage, block)
    batches = list(opened.scan(opened.schema.names))
    table = pa.Table.from_batches(batches, schema=opened.schema)
    if block.kind != PAIRS:  # another run there may have been first with some of its rows
        speaks = np.asarray(block.bits.to_array(), np.int64)
        table = table.filter(pa.array(np.isin(table["sid"].to_numpy(), speaks)))
    for side in sides:
        sids = match.here_of(table[side].to_numpy())
        table = table.set_column(
            table.schema.get_field_index(side), table.schema.field(side), pa.array(sids)
        ).filter(pa.array(sids >= 0))
    return table.sort_by([(side, "ascending") for side in sides])


def _unknown_here(store: Store, here: Producer, table: pa.Table) -> pa.Table:
    """The rows of `table` that the producer has not said here."""
    assert here.id is not None
    if here.kind != PAIRS:
        covered = np.asarray(store.covered(here.id).to_array(), np.int64)
        return table.filter(pa.array(~np.isin(table["sid"].to_numpy(), covered)))
    said = store.pairs(here).select("source", "target")
    frame = pl.DataFrame(pl.from_arrow(table.select(["source", "target"])))
    fresh = frame.with_row_index().join(said, on=["source", "target"], how="anti").sort("index")
    return table.take(pa.array(fresh["index"].to_numpy()))


def _publish(
    run: ActiveRun, other: Store, block: BlockRef, here: Producer, table: pa.Table
) -> None:
    sides = ("source", "target") if here.kind == PAIRS else ("sid",)
    bits = BitMap(np.unique(np.concatenate([table[side].to_numpy() for side in sides])))
    origin = {"store": other.database.store_id(), "run": block.run_id}
    staged = run.stage(
        here.kind, table.to_batches(), table.schema, bits, producer_id=here.id, origin=origin
    )
    run.publish([staged])
