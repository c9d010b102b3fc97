"""What was spent on a dataset, by the ledger of its runs, beside what labelling all would take.

Spent is what runs wrote down, nothing else. A run counts if its scope or its parameters name the
dataset, in any version. What all labels would take is extrapolated from the seconds per label that
the same runs measured, and said to be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlmodel import col, select

from influence_store.jobs.savings import cost_of
from influence_store.report.facts import Cost, Everything, Spent
from influence_store.report.values import Missing
from influence_store.schema.catalog import Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from influence_store.jobs.report_influence import Column
    from influence_store.jobs.report_rows import Rows
    from influence_store.schema.catalog import Producer
    from influence_store.store.store import Store

_NAMING = ("dataset", "sources", "targets", "given")
_SECONDS = ("seconds", "cpu_seconds", "gpu_seconds")
_COUNTED = ("llm_passes", "llm_tokens", "embeddings", "fills")


def cost(store: Store, rows: Rows, columns: Sequence[Column]) -> Cost | Missing:
    """The fourth section of the report."""
    with store.database.read() as session:
        query = select(Run).where(Run.state != "writing").order_by(col(Run.started_at), col(Run.id))
        runs = [run for run in session.exec(query).all() if about(run, rows.version.dataset)]
    if not runs:
        return Missing("No run names this dataset.", "influence-store log")
    return Cost(by_verb(runs), (*_of_pairs(store, rows, runs), *_of_rows(rows, columns, runs)))


def about(run: Run, dataset: str) -> bool:
    """Whether a run worked on the dataset, in whichever version."""
    named = (run.params.get(key) for key in _NAMING)
    told = {one.partition("@")[0] for one in named if isinstance(one, str)}
    return dataset in told or dataset in run.scope.split(":")[1:]


def by_verb(runs: Iterable[Run]) -> tuple[Spent, ...]:
    """What the runs of each verb spent, in the order in which the verbs were first run."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.verb, []).append(run)
    return tuple(_spent(verb, those) for verb, those in found.items())


def _spent(verb: str, runs: Sequence[Run]) -> Spent:
    wall, cpu, gpu = (sum(cost_of(run)[name] for run in runs) for name in _SECONDS)
    counts = {name: sum(int(run.cost.get(name, 0)) for run in runs) for name in _COUNTED}
    return Spent(verb, len(runs), wall, cpu, gpu, **counts)


def _of_pairs(store: Store, rows: Rows, runs: Sequence[Run]) -> Iterable[Everything]:
    n = len(rows.sids)
    for producer in store.producers("pairs"):
        if "imported" in producer.facts:
            continue
        found = store.pairs(producer)
        inside = found["source"].is_in(rows.sids) & found["target"].is_in(rows.sids)
        if labelled := int(inside.sum()):
            asked = [run.result for run in runs if _measured(run, producer)]
            pace = _pace((one["seconds"], one["scored"]) for one in asked)
            yield _everything(producer.name, "pairs", n * (n - 1), labelled, pace)


def _measured(run: Run, producer: Producer) -> bool:
    return run.verb == "label" and run.result.get("fingerprint") == producer.fingerprint


def _of_rows(rows: Rows, columns: Sequence[Column], runs: Sequence[Run]) -> Iterable[Everything]:
    """Once for each measured method, whatever the number of its outputs."""
    first: dict[int | None, Column] = {}
    for column in columns:
        if column.kind == "measured":
            first.setdefault(column.producer.id, column)
    for column in first.values():
        asked = [run.result for run in runs if run.verb == "label"]
        alone = [one for one in asked if _alone(one, column.producer)]
        pace = _pace((one["seconds"], one["columns"][0]["scored"]) for one in alone)
        labelled = len(column.values) + column.null
        yield _everything(column.producer.name, "rows", len(rows.sids), labelled, pace)


def _alone(result: dict[str, Any], producer: Producer) -> bool:
    """Whether a run measured this method and no other, so that its seconds are the method's."""
    columns = result.get("columns") or []
    return len(columns) == 1 and columns[0].get("fingerprint") == producer.fingerprint


def _pace(measured: Iterable[tuple[float, int]]) -> float | None:
    """Seconds per label over all runs that made some; None if there is none."""
    runs = [(seconds, count) for seconds, count in measured if count]
    return sum(s for s, _ in runs) / sum(n for _, n in runs) if runs else None


def _everything(
    method: str, unit: str, cells: int, labelled: int, pace: float | None
) -> Everything:
    return Everything(method, unit, cells, labelled, pace, None if pace is None else pace * cells)
