"""`status`: what the store holds, what it lacks, and who is at work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlmodel import Session, col, func, select

from influence_store.counted import agree, counted
from influence_store.jobs.rewrite import CELLS, PAIRS
from influence_store.output import moment, plain
from influence_store.schema.catalog import (
    Block,
    BlockFile,
    Dataset,
    Estimator,
    Producer,
    Run,
    Selection,
    Tag,
)
from influence_store.settings import lease_seconds
from influence_store.store import owner
from influence_store.store.runs import is_alive

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyroaring import BitMap

    from influence_store.store.store import Store
    from influence_store.store.versions import Version

#: What `compact` merges.
MERGED = frozenset([*CELLS, PAIRS])
#: A column in more blocks than these is read noticeably slower.
MANY_BLOCKS = 64


@dataclass(frozen=True)
class StatusReport:
    """Datasets with the coverage of their columns, runs at work, and totals.

    Active columns are kept complete by `ingest`; `measured` ones hold what was asked for.
    `scattered` columns lie in many blocks; `retired_bytes` wait for `gc`.
    """

    store: str
    contents: int
    datasets: list[dict[str, Any]]
    estimators: int
    selections: int
    working: list[dict[str, Any]]
    interrupted: list[dict[str, Any]]
    blocks: int
    scattered: list[dict[str, Any]]
    retired_blocks: int
    retired_bytes: int

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return dict(vars(self))

    def lines(self) -> list[str]:
        """For people."""
        told = [f"{self.store}: {counted(self.contents, 'distinct sample')}"]
        for dataset in self.datasets:
            told += _dataset_lines(dataset)
        estimators = counted(self.estimators, "estimator")
        told.append(f"{estimators}, {counted(self.selections, 'selection')}")
        told += [_held_line(run) for run in self.working]
        for run in self.interrupted:
            told.append(f"interrupted: {run['verb']} {run['scope']}; run it again to go on")
        for one in self.scattered:
            name = f"{one['kind']} {one['name']}".rstrip()
            told.append(f"{name} lies in {one['blocks']:,} blocks; run: influence-store compact")
        if self.retired_blocks:
            size = f"{self.retired_bytes / 1e6:,.1f} MB"
            waits = agree(self.retired_blocks, "waits", "wait")
            told.append(
                f"{counted(self.retired_blocks, 'replaced block')} ({size}) {waits} for: gc"
            )
        if not self.datasets:
            told.append("next: influence-store ingest FILE --dataset NAME")
        return told


def _dataset_lines(dataset: dict[str, Any]) -> list[str]:
    told = [f"  {dataset['dataset']}@{dataset['version']}  {counted(dataset['rows'], 'row')}"]
    if tags := dataset["tags"]:
        named = ", ".join(f"{plain(one['name'])} = @{one['version']}" for one in tags)
        told.append(f"    tags: {named}")
    for column in dataset["columns"]:
        lacking = f", {column['missing']:,} missing" if column["missing"] else ""
        told.append(f"    {column['kind']} {column['name']}{lacking or ': complete'}")
    for column in dataset["measured"]:
        rows = f"{column['rows']:,} of {counted(dataset['rows'], 'row')}"
        told.append(f"    {column['kind']} {column['name']}: {rows}")
    for drift in dataset["drift"]:
        told.append(
            f"    drift: {drift['estimator']} was not taught on rows like those new in "
            f"{drift['dataset']} ({drift['outside']:,} of {drift['rows']:,} are outside)"
        )
    return told


def _held_line(run: dict[str, Any]) -> str:
    return (
        f"at work: {run['verb']} holds {plain(run['scope'])}, {run['by']}, since "
        f"{moment(run['started_at'])} ({run['seconds']:.0f} s); last heard "
        f"{run['heartbeat_seconds_ago']:.0f} s ago, lease for {run['lease_seconds_left']:.0f} s"
    )


def status(store: Store) -> StatusReport:
    """Read the catalog; nothing is opened in LanceDB."""
    measured = [
        (producer, store.covered(producer.id or 0))
        for producer in store.producers()
        if producer.kind in ("points", "vectors")
    ]
    with store.database.read() as session:
        tags = _tags(session)
        held = _blocks(session)
    datasets = [_dataset(store, version, tags, measured) for version in store.heads()]
    contents = sum(len(block.bits) for block in store.blocks("samples"))
    with store.database.read() as session:
        now = store.database.now(session)
        writing = session.exec(select(Run).where(Run.state == "writing")).all()
        estimators = len(session.exec(select(Estimator.producer_id)).all())
        selections = len(session.exec(select(Selection.id)).all())
    live = [run for run in writing if is_alive(run, now)]
    return StatusReport(
        store=store.uri,
        contents=contents,
        datasets=datasets,
        estimators=estimators,
        selections=selections,
        working=[_held(run, now) for run in live],
        interrupted=[{"verb": run.verb, "scope": run.scope} for run in writing if run not in live],
        **held,
    )


def _dataset(
    store: Store,
    version: Version,
    tags: Mapping[int, list[dict[str, Any]]],
    measured: Sequence[tuple[Producer, BitMap]],
) -> dict[str, Any]:
    """The newest version of one dataset."""
    return {
        "dataset": version.dataset,
        "version": version.number,
        "rows": len(version.bits),
        "tags": tags.get(version.dataset_id, []),
        "columns": [
            {
                "kind": producer.kind,
                "name": producer.name,
                "missing": len(store.missing(version, producer)),
            }
            for producer, _ in store.active(version.dataset_id)
        ],
        "measured": [
            {"kind": producer.kind, "name": producer.name, "rows": n_rows}
            for producer, cells in measured
            if (n_rows := len(version.bits & cells))
        ],
        "drift": _drift(store, version),
    }


def _held(run: Run, now: float) -> dict[str, Any]:
    """A run at work, seconds by the clock of the database."""
    return {
        "verb": run.verb,
        "scope": run.scope,
        "by": owner.describe(run.owner),
        "started_at": run.started_at,
        "seconds": now - run.started_at,
        "heartbeat_seconds_ago": max(0.0, now + lease_seconds() - run.lease_until),
        "lease_seconds_left": run.lease_until - now,
    }


def _tags(session: Session) -> dict[int, list[dict[str, Any]]]:
    """The names of versions, per dataset."""
    found: dict[int, list[dict[str, Any]]] = {}
    for row in session.exec(select(Tag).order_by(col(Tag.number), col(Tag.name))).all():
        named = {"name": row.name, "version": row.number}
        found.setdefault(row.dataset_id, []).append(named)
    return found


def _blocks(session: Session) -> dict[str, Any]:
    """How many blocks there are, where they are too many, and what waits for `gc`."""
    live = (
        select(Block.kind, Block.producer_id, Block.dataset_id, func.count())
        .where(col(Block.retired_at).is_(None))
        .group_by(Block.kind, col(Block.producer_id), col(Block.dataset_id))
    )
    columns = session.exec(live).all()
    producers = dict(session.exec(select(Producer.id, Producer.name)).all())
    datasets = dict(session.exec(select(Dataset.id, Dataset.name)).all())
    waiting = (
        select(func.count(col(Block.id).distinct()), func.coalesce(func.sum(BlockFile.size), 0))
        .join(BlockFile, col(BlockFile.block_id) == col(Block.id))
        .where(col(Block.retired_at).is_not(None))
    )
    retired, size = session.exec(waiting).one()
    return {
        "blocks": sum(count for *_, count in columns),
        "scattered": [
            {
                "kind": kind,
                "name": producers.get(producer_id) or datasets.get(dataset_id) or "",
                "blocks": count,
            }
            for kind, producer_id, dataset_id, count in columns
            if count > MANY_BLOCKS and kind in MERGED
        ],
        "retired_blocks": retired,
        "retired_bytes": int(size),
    }


def _drift(store: Store, version: Version) -> list[dict[str, Any]]:
    """What `ingest` and `fill` found of the dataset's present estimators, version by version."""
    # Of estimators with one name the one that came last is in use.
    active = store.active(version.dataset_id)
    in_use = {made.name: made.fingerprint for made, _ in active if made.kind == "estimate"}
    if not in_use:
        return []
    with store.database.read() as session:
        query = select(Run.result).where(Run.verb == "drift", Run.state == "committed")
        results = session.exec(query.order_by(col(Run.started_at))).all()
    last = {(one["dataset"], one["fingerprint"]): one for one in results}
    return [
        dict(one)
        for (dataset, fingerprint), one in last.items()
        if one["drift"]
        and dataset.partition("@")[0] == version.dataset
        and fingerprint in in_use.values()
    ]
