"""`log`: what was done with the store, and what every run cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlmodel import col, select

from influence_store.output import moment, plain
from influence_store.schema.catalog import Run
from influence_store.store import owner

if TYPE_CHECKING:
    from influence_store.store.store import Store


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


def log(
    store: Store,
    limit: int,
    *,
    verb: str | None = None,
    dataset: str | None = None,
    state: str | None = None,
) -> LogReport:
    """The last `limit` runs; only those of a verb, a state, or on a dataset (any version)."""
    query = select(Run).order_by(col(Run.started_at).desc())
    if verb is not None:
        query = query.where(Run.verb == verb)
    if state is not None:
        query = query.where(Run.state == state)
    if dataset is not None:
        # What a run works on is the end of its scope, or stands in its parameters.
        about = col(Run.params)["dataset"].as_string()
        query = query.where(
            col(Run.scope).endswith(f":{dataset}", autoescape=True)
            | (about == dataset)
            | about.startswith(f"{dataset}@", autoescape=True)
        )
    with store.database.read() as session:
        runs = session.exec(query.limit(limit)).all()
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
    began = moment(run["started_at"])
    spent = ", ".join(
        f"{count:,} {name.replace('_', ' ')}"
        for name, count in run["cost"].items()
        if not name.endswith("seconds") and count
    )
    params = run["params"]
    verdicts = run["result"].get("verdicts", []) if run["verb"] == "trial" else []
    about = params.get("dataset") or params.get("sources") or " ".join(params.get("paths", []))
    about = plain(str(about))
    parts = [began, f"{run['verb']:<7}", f"{run['state']:<9}", f"{run['seconds']:7.1f} s", about]
    told = [plain(one) for one in verdicts]
    return "  ".join([*parts, *([spent] if spent else []), *told])
