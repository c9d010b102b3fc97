"""What was spent on a dataset, by the ledger of its runs, beside what labelling all would take.

Spent is what runs wrote down, nothing else. A run counts if its scope or its parameters name the
dataset, in any version. What all labels would take is extrapolated by `savings.py`, as `log --cost`
does it, and said to be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlmodel import col, select

from influence_store.jobs.savings import cost_of, savings
from influence_store.report.facts import Cost, Everything, Spent
from influence_store.report.values import Missing
from influence_store.schema.catalog import Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from influence_store.jobs.savings import Saving
    from influence_store.store.store import Store

_NAMING = ("dataset", "sources", "targets", "given")
_SECONDS = ("seconds", "cpu_seconds", "gpu_seconds")
_COUNTED = ("llm_passes", "llm_tokens", "embeddings", "fills")


def cost(store: Store, dataset: str) -> Cost | Missing:
    """The fourth section of the report."""
    with store.database.read() as session:
        query = select(Run).where(Run.state != "writing").order_by(col(Run.started_at), col(Run.id))
        runs = [run for run in session.exec(query).all() if about(run, dataset)]
    if not runs:
        return Missing("No run names this dataset.", "influence-store log")
    return Cost(by_verb(runs), tuple(map(_everything, savings(store, runs, dataset))))


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


def _everything(one: Saving) -> Everything:
    """As `log --cost` has it: what the runs labelled, beside all there is."""
    return Everything(
        method=", ".join(one.methods),
        unit=one.unit,
        cells=one.cells,
        labelled=one.measured,
        seconds_per_cell=one.each.get("seconds"),
        seconds=one.everything.get("seconds"),
    )
