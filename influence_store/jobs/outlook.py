"""`plan` without a verb: which columns are complete, which lack rows, which are out of date?

What the rest would cost is told from what the same column cost before, as the log of runs has it;
where nothing was ever computed, nothing is claimed. `plan VERB …` measures instead.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlmodel import Session, col, func, select

from influence_store.counted import counted
from influence_store.jobs.ask_again import select_command, what_is_asked
from influence_store.jobs.cost import duration
from influence_store.jobs.estimators import KIND as ESTIMATE
from influence_store.jobs.kernels import TRUSTED
from influence_store.output import plain
from influence_store.schema.catalog import (
    Block,
    DatasetVersion,
    Estimator,
    Producer,
    Run,
    Selection,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from influence_store.store.store import Store
    from influence_store.store.versions import Version

EMBEDDING, MEASURED = "embedding", ("points", "vectors")


@dataclass(frozen=True)
class Pace:
    """What `cells` of a column cost in all runs that computed some, fine-tuning left out."""

    cells: int
    seconds: float
    llm_passes: int

    def of(self, missing: int) -> tuple[float, int]:
        """Seconds and passes for so many more."""
        share = missing / self.cells
        return share * self.seconds, round(share * self.llm_passes)


@dataclass(frozen=True)
class Item:
    """One column of a dataset, or a selection of it.

    `state` is fresh, missing (rows without a value) or stale (why says what came since). `seconds`
    and `llm_passes` are for all `missing` rows; None where the log cannot tell.
    """

    kind: str
    name: str
    state: str
    missing: int
    why: str
    seconds: float | None
    llm_passes: int | None
    command: str

    def lines(self) -> list[str]:
        """For people."""
        told = f"    {self.kind} {plain(self.name)}: {self.state}"
        if self.why:
            told += f", {self.why}"
        if self.missing and self.seconds is not None:
            passes = f"{counted(self.llm_passes, 'LLM pass')}, " if self.llm_passes else ""
            told += f"; about {passes}{duration(self.seconds)}"
        elif self.missing:
            told += "; what that costs is not known yet"
        return [told, f"      {plain(self.command)}"] if self.command else [told]


@dataclass(frozen=True)
class Outlook:
    """Per dataset version its columns and selections."""

    store: str
    datasets: tuple[tuple[str, tuple[Item, ...]], ...]

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        told = [
            {"dataset": name, "items": [dict(vars(one)) for one in items]}
            for name, items in self.datasets
        ]
        return {"store": self.store, "datasets": told}

    def lines(self) -> list[str]:
        """For people; what is fresh is only counted."""
        told = []
        for name, items in self.datasets:
            if not items:
                told += [
                    f"  {name}: nothing is computed of its rows yet",
                    f"      influence-store embed {name} --embedder E",
                ]
                continue
            fresh = sum(one.state == "fresh" for one in items)
            what = counted(len(items), "column or selection is", "columns and selections are")
            told.append(f"  {name}: {fresh} of {what} fresh")
            for one in items:
                if one.state != "fresh":
                    told += one.lines()
        return told or ["nothing is stored yet; next: influence-store ingest FILE --dataset NAME"]


def outlook(store: Store, versions: Sequence[Version]) -> Outlook:
    """Of each version; only the catalog is read."""
    with store.database.read() as session:
        paces = _paces(session)
        since = _labels_since(session)
    return Outlook(
        store.uri,
        tuple((str(one), tuple(_items(store, one, paces, since))) for one in versions),
    )


def _items(
    store: Store, version: Version, paces: dict[str, Pace], since: dict[int, int]
) -> Iterator[Item]:
    # Of producers with one name the one that came last is in use.
    active = store.active(version.dataset_id)
    in_use = {(one.kind, one.name): (one, source) for one, source in active}
    asked = [
        (one, "")
        for kind in MEASURED
        for one in store.producers(kind)
        if version.bits & store.covered(one.id or 0)
    ]
    for producer, source in [*in_use.values(), *asked]:
        missing = len(store.missing(version, producer))
        command = _command(producer, version, source)
        yield _column(version, producer, missing, command, paces, since)
    with store.database.read() as session:
        yield from _selections(session, version)


def _column(
    version: Version,
    producer: Producer,
    missing: int,
    command: str,
    paces: dict[str, Pace],
    since: dict[int, int],
) -> Item:
    why = f"{missing:,} of {len(version.bits):,} rows have no value" if missing else ""
    command = command if missing else ""
    state = "missing" if missing else "fresh"
    if producer.kind == ESTIMATE and (new := since.get(producer.id or 0, 0)):
        state = "stale"
        labels = f"{counted(new, 'label')} came since it was trained"
        why = f"{labels}, {why}" if why else labels
        command = f"influence-store train {version.dataset} --name {producer.name}"
    pace = paces.get(producer.fingerprint)
    seconds, passes = pace.of(missing) if pace is not None else (None, None)
    return Item(producer.kind, producer.name, state, missing, why, seconds, passes, command)


def _command(producer: Producer, version: Version, source: str) -> str:
    if producer.kind == EMBEDDING:
        return f"influence-store embed {version.dataset} --embedder {shlex.quote(source)}"
    if producer.kind == ESTIMATE:
        return f"influence-store fill {version.dataset} --estimator {producer.name}"
    return f"influence-store label {version.dataset} --method {producer.name} --model … --rows all"


def _selections(session: Session, version: Version) -> Iterator[Item]:
    """Stale are those of an earlier version whose question nothing newer answers."""
    query = (
        select(Selection, DatasetVersion.number)
        .join(DatasetVersion, col(DatasetVersion.id) == col(Selection.dataset_version_id))
        .where(
            DatasetVersion.dataset_id == version.dataset_id,
            DatasetVersion.number <= version.number,
        )
        .order_by(col(Selection.created_at))
    )
    estimators = select(Producer.name).join(Estimator, col(Estimator.producer_id) == Producer.id)
    weak = {*session.exec(estimators.where(col(Estimator.verdict).not_in(TRUSTED)))}
    newest = {what_is_asked(row): (row, number) for row, number in session.exec(query)}
    for row, number in newest.values():
        old = number < version.number
        yield Item(
            kind="selection",
            name=row.id,
            state="stale" if old else "fresh",
            missing=0,
            why=f"made of @{number}" if old else "",
            seconds=None,
            llm_passes=None,
            command=select_command(row, version.dataset, weak) if old else "",
        )


def _paces(session: Session) -> dict[str, Pace]:
    """By the producer's fingerprint."""
    totals: dict[str, list[float]] = {}
    runs = select(Run).where(
        Run.state == "committed", col(Run.verb).in_(["embed", "fill", "label"])
    )
    for run in session.exec(runs):
        seconds = (run.finished_at or run.started_at) - run.started_at
        for fingerprint, cells in _computed(run):
            sums = totals.setdefault(fingerprint, [0, 0.0, 0])
            for k, one in enumerate((cells, seconds, run.cost.get("llm_passes", 0))):
                sums[k] += one
    return {
        name: Pace(int(cells), seconds, int(passes))
        for name, (cells, seconds, passes) in totals.items()
        if cells
    }


def _computed(run: Run) -> Iterator[tuple[str, int]]:
    """Whose cells a run computed, and how many; methods that share passes share the cost."""
    told = run.result
    if run.verb == "embed":
        yield told["fingerprint"], told["computed"]
    elif run.verb == "fill":
        yield run.scope.split(":")[1], told["filled"]
    else:
        for column in told.get("columns", []):
            yield column["fingerprint"], column["scored"]


def _labels_since(session: Session) -> dict[int, int]:
    """Per estimator, by its producer's id: labels of its teacher that it was not taught."""
    query = (
        select(Estimator.producer_id, func.sum(Block.n_rows))
        .join(Run, col(Run.id) == col(Estimator.run_id))
        .join(Block, col(Block.producer_id) == col(Estimator.method_id))
        .where(col(Block.retired_at).is_(None), col(Block.published_at) > col(Run.started_at))
        .group_by(col(Estimator.producer_id))
    )
    return {producer: int(count) for producer, count in session.exec(query) if count}
