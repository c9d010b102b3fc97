"""What will a trial train, and how long will that take? Told from one step that is timed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from influence_store.jobs.cost import duration
from influence_store.output import table_lines
from influence_store.schema.identity import fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.jobs.trial_setup import Job, Trial


@dataclass(frozen=True)
class PlannedArm:
    """An arm: rows of one set, tokens and steps of one model (0 of the probe), models to make."""

    name: str
    rows: int
    tokens: int
    steps: int
    models: int
    known: int


@dataclass(frozen=True)
class TrialPlan:
    """`seconds` are what is left to do, as told by one step and a part of the judging."""

    trial: str
    dataset: str
    arms: tuple[PlannedArm, ...]
    held: int
    source: str
    due: int
    seconds: float
    notes: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return {**asdict(self), "arms": [asdict(arm) for arm in self.arms]}

    def lines(self) -> list[str]:
        """For people."""
        columns = ["arm", "rows", "tokens", "steps", "models", "known"]
        rows = [
            (arm.name, arm.rows, arm.tokens, arm.steps, arm.models, arm.known) for arm in self.arms
        ]
        return [
            *[f"note: {note}" for note in self.notes],
            f"trial {self.trial} on {self.dataset}, judged by {self.held:,} of {self.source}",
            *table_lines(columns, rows),
            f"{self.due:,} models to make: about {duration(self.seconds)}"
            if self.due
            else "all of them are known",
        ]


def trial_plan(asked: Trial, due: Sequence[Job]) -> TrialPlan:
    """One step of the first model that is due is trained, and thrown away."""
    left = {fingerprint(job.facts) for job in due}
    arms = []
    for arm in asked.arms.arms:
        jobs = [job for job in asked.jobs if job.arm is arm]
        models = {fingerprint(job.facts) for job in jobs}
        budget = jobs[0].work.budget
        arms.append(
            PlannedArm(
                name=arm.name,
                rows=arm.rows,
                tokens=budget.tokens if budget else 0,
                steps=budget.steps if budget else 0,
                models=len(models),
                known=len(models - left),
            )
        )
    return TrialPlan(
        trial=asked.identity,
        dataset=str(asked.version),
        arms=tuple(arms),
        held=len(asked.rows.held),
        source=asked.rows.source,
        due=len(due),
        seconds=_seconds(asked, due),
        notes=(*asked.rows.notes, *(f"not compared: {one}" for one in asked.arms.left_out)),
    )


def _seconds(asked: Trial, due: Sequence[Job]) -> float:
    trained = [job for job in due if len(job.work.rows)]
    if not trained:
        return 0.0
    step, judging = asked.learner.rehearse(trained[0].work, asked.rows.held)
    steps = sum(job.work.budget.steps if job.work.budget else 0 for job in due)
    return step * steps + judging * len(due)
