"""`status` and `log`: what the store holds, who is at work, and what every run cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlmodel import col, select

from influence_store.schema.catalog import Estimator, Run, Selection
from influence_store.store import owner

if TYPE_CHECKING:
    from influence_store.store.store import Store, Version


@dataclass(frozen=True)
class StatusReport:
    """Datasets with the coverage of their columns, runs at work, and totals.

    Active columns are kept complete by `ingest`; `measured` ones hold what was asked for.
    """

    store: str
    contents: int
    datasets: list[dict[str, Any]]
    estimators: int
    selections: int
    working: list[dict[str, Any]]
    interrupted: list[dict[str, Any]]

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return dict(vars(self))

    def lines(self) -> list[str]:
        """For people."""
        told = [f"{self.store}: {self.contents:,} distinct samples"]
        for dataset in self.datasets:
            told.append(f"  {dataset['dataset']}@{dataset['version']}  {dataset['rows']:,} rows")
            for column in dataset["columns"]:
                lacking = f", {column['missing']:,} missing" if column["missing"] else ""
                told.append(f"    {column['kind']} {column['name']}{lacking or ': complete'}")
            for column in dataset["measured"]:
                rows = f"{column['rows']:,} of {dataset['rows']:,} rows"
                told.append(f"    {column['kind']} {column['name']}: {rows}")
            for drift in dataset["drift"]:
                told.append(
                    f"    drift: {drift['estimator']} was not taught on rows like those new in "
                    f"{drift['dataset']} ({drift['outside']:,} of {drift['rows']:,} are outside)"
                )
        told.append(f"{self.estimators} estimators, {self.selections} selections")
        for run in self.working:
            told.append(f"at work: {run['verb']} by {run['by']} for {run['seconds']:.0f} s")
        for run in self.interrupted:
            told.append(f"interrupted: {run['verb']} {run['scope']}; run it again to go on")
        if not self.datasets:
            told.append("next: influence-store ingest FILE --dataset NAME")
        return told


def status(store: Store) -> StatusReport:
    """Read the catalog; nothing is opened in LanceDB."""
    latest = {version.dataset: version for version in store.versions()}
    measured = [
        (producer, store.covered(producer.id or 0))
        for producer in store.producers()
        if producer.kind in ("points", "vectors")
    ]
    datasets = [
        {
            "dataset": version.dataset,
            "version": version.number,
            "rows": len(version.bits),
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
        for version in latest.values()
    ]
    contents = sum(len(block.bits) for block in store.blocks("samples"))
    with store.database.read() as session:
        now = store.database.now(session)
        writing = session.exec(select(Run).where(Run.state == "writing")).all()
        estimators = len(session.exec(select(Estimator.producer_id)).all())
        selections = len(session.exec(select(Selection.id)).all())
    live = [run for run in writing if not owner.is_dead(run.owner) and run.lease_until > now]
    return StatusReport(
        store=store.uri,
        contents=contents,
        datasets=datasets,
        estimators=estimators,
        selections=selections,
        working=[
            {
                "verb": run.verb,
                "by": owner.describe(run.owner),
                "seconds": now - run.started_at,
                "lease_seconds_left": run.lease_until - now,
            }
            for run in live
        ],
        interrupted=[{"verb": run.verb, "scope": run.scope} for run in writing if run not in live],
    )


def _drift(store: Store, version: Version) -> list[dict[str, Any]]:
    """What `ingest` and `fill` found of the dataset's present estimators, version by version."""
    # Of estimators with one name the one that came last is in use.
    active = store.active(version.dataset_id)
    in_use = {made.name: made.fingerprint for made, _ in active if made.kind == "estimate"}
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


@dataclass(frozen=True)
class LogReport:
    """Runs, newest first, each with what it did and spent."""

    runs: list[dict[str, Any]]

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return {"runs": self.runs}

    def lines(self) -> list[str]:
        """For people: one line per run."""
        return [_line(run) for run in self.runs] or ["no runs yet"]


def log(store: Store, limit: int) -> LogReport:
    """The last `limit` runs."""
    with store.database.read() as session:
        query = select(Run).order_by(col(Run.started_at).desc()).limit(limit)
        runs = session.exec(query).all()
    return LogReport(
        [
            {
                "id": run.id,
                "verb": run.verb,
                "state": run.state,
                "started_at": run.started_at,
                "seconds": (run.finished_at or run.started_at) - run.started_at,
                "by": owner.describe(run.owner),
                "params": run.params,
                "result": run.result,
                "cost": run.cost,
                "tool_version": run.tool_version,
            }
            for run in runs
        ]
    )


def _line(run: dict[str, Any]) -> str:
    from datetime import UTC, datetime

    began = datetime.fromtimestamp(run["started_at"], UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    spent = ", ".join(
        f"{count:,} {name.replace('_', ' ')}"
        for name, count in run["cost"].items()
        if not name.endswith("seconds") and count
    )
    params = run["params"]
    about = params.get("dataset") or params.get("sources") or " ".join(params.get("paths", []))
    parts = [began, f"{run['verb']:<7}", f"{run['state']:<9}", f"{run['seconds']:7.1f} s", about]
    return "  ".join([*parts, *([spent] if spent else [])])
