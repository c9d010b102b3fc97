"""What came of a trial: every arm's numbers, every comparison, and what may be said of it.

All of it is computed from stored cells, so that it can be computed again from them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.counted import counted
from influence_store.jobs.trial_cells import KIND, read_measured
from influence_store.output import table_lines
from influence_store.trial.arms import FULL, RANDOM, SELECTION
from influence_store.trial.statistics import paired
from influence_store.trial.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.jobs.trial_learners import Learner
    from influence_store.jobs.trial_setup import Job, Trial
    from influence_store.protocols import Doubles
    from influence_store.store.store import Store
    from influence_store.trial.arms import Arm
    from influence_store.trial.verdict import Verdict


@dataclass(frozen=True)
class ArmResult:
    """Means over held-out rows and models; `sd` is that of the models' mean losses.

    Of a fine-tuned model `tokens` were read, `learned` of them in responses, from `seen` rows; None
    of the probe. `rouge_l` and `exact` are None where no answer was written.
    """

    name: str
    kind: str
    rows: int
    models: int
    loss: float
    sd: float | None
    seen: int | None
    tokens: int | None
    learned: int | None
    rouge_l: float | None
    exact: float | None
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """A selection against a baseline; `paired` is None where both have the same rows."""

    selection: str
    against: str
    kind: str
    verdict: Verdict
    paired: Mapping[str, Any] | None

    def facts(self) -> dict[str, Any]:
        """JSON-able."""
        told = {"selection": self.selection, "against": self.against, "baseline": self.kind}
        words = {"verdict": self.verdict.kind, "words": self.verdict.words}
        return {**told, **words, **(self.paired or {})}


@dataclass(frozen=True)
class TrialReport:
    """`trained` models were made by this run; the others' cells were known."""

    trial: str
    dataset: str
    learner: str
    unit: str
    settings: Mapping[str, Any]
    runs: int
    rows: Mapping[str, Any]
    arms: tuple[ArmResult, ...]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]
    trained: int

    @property
    def verdicts(self) -> list[str]:
        """Of every selection against random, in words."""
        return [
            f"{one.selection} {_sentence(one)}" for one in self.comparisons if one.kind == RANDOM
        ]

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        return {
            "trial": self.trial,
            "dataset": self.dataset,
            "learner": self.learner,
            "unit": self.unit,
            "settings": dict(self.settings),
            "runs": self.runs,
            **self.rows,
            "arms": [asdict(arm) for arm in self.arms],
            "comparisons": [one.facts() for one in self.comparisons],
            "verdicts": self.verdicts,
            "notes": list(self.notes),
            "trained": self.trained,
        }

    def lines(self) -> list[str]:
        """For people."""
        known = "" if self.trained else " (known already)"
        return [
            *[f"note: {note}" for note in self.notes],
            f"trial {self.trial} on {self.dataset}{known}: {self.learner}, judged by "
            f"{self.rows['held']:,} of {self.rows['held_out_of']}",
            *[f"  {line}" for line in self._left_out()],
            *table_lines(*self._table()),
            *[line for one in self.comparisons for line in _lines(one)],
        ]

    def _left_out(self) -> list[str]:
        reasons = {"leaked": "hold part of the pool", "unusable": "cannot be read"}
        counts = [(self.rows[name], why) for name, why in reasons.items()]
        return [f"{count:,} more were left out: they {why}" for count, why in counts if count]

    def _table(self) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Columns that no arm has a number for are left out."""
        columns: dict[str, list[Any]] = {
            "arm": [arm.name for arm in self.arms],
            "rows": [arm.rows for arm in self.arms],
            "seen": [arm.seen for arm in self.arms],
            "tokens": [arm.tokens for arm in self.arms],
            "learned": [arm.learned for arm in self.arms],
            "models": [arm.models for arm in self.arms],
            "loss": [f"{arm.loss:.4f}" for arm in self.arms],
            "sd": [None if arm.sd is None else f"{arm.sd:.4f}" for arm in self.arms],
            "ROUGE-L": [None if arm.rouge_l is None else f"{arm.rouge_l:.3f}" for arm in self.arms],
            "exact": [None if arm.exact is None else f"{arm.exact:.3f}" for arm in self.arms],
        }
        kept = {name: one for name, one in columns.items() if any(v is not None for v in one)}
        return list(kept), list(zip(*kept.values(), strict=True))


def trial_report(store: Store, asked: Trial, *, trained: int) -> TrialReport:
    """Read the cells of every model of the trial and compare."""
    measured = {arm.name: _Cells(store, asked, arm) for arm in asked.arms.arms}
    comparisons = [
        _compare(asked, chosen, arm, measured)
        for chosen in asked.selections
        for arm in asked.arms.arms
        if arm.kind != SELECTION and chosen.name in arm.of
    ]
    budget = next((job.work.budget for job in asked.jobs if job.work.budget), None)
    equal = {"tokens": budget.tokens, "steps": budget.steps} if budget else {"rows": "as selected"}
    options = asked.options
    return TrialReport(
        trial=asked.identity,
        dataset=str(asked.version),
        learner=asked.learner.name,
        unit=asked.learner.unit,
        settings={**asked.learner.told(), "equal": equal, "seeds": list(options.seeds)},
        runs=options.runs,
        rows=asked.rows.facts(),
        arms=tuple(one.result() for one in measured.values()),
        comparisons=tuple(comparisons),
        notes=(*asked.rows.notes, *(f"not compared: {one}" for one in asked.arms.left_out)),
        trained=trained,
    )


class _Cells:
    """What the models of one arm made of the held-out rows, each (runs, draws, held)."""

    def __init__(self, store: Store, asked: Trial, arm: Arm) -> None:
        self._arm, self._learner = arm, asked.learner
        self._jobs = [job for job in asked.jobs if job.arm is arm]
        makers = [store.producer(KIND, asked.learner.name, job.facts) for job in self._jobs]
        self._cells = tuple(dict.fromkeys(one.fingerprint for one in makers))
        found = [read_measured(store, one, asked.rows.held) for one in makers]
        shape = (asked.options.runs, -1, len(asked.rows.held))
        self.loss: Doubles = np.array([one.loss for one in found]).reshape(shape)
        self._rouge = np.array([one.rouge_l for one in found])
        self._exact = np.array([one.exact for one in found])

    def result(self) -> ArmResult:
        """The arm in one line."""
        models = self.loss.mean(axis=2).ravel()
        return ArmResult(
            name=self._arm.name,
            kind=self._arm.kind,
            rows=self._arm.rows,
            models=len(self._cells),
            loss=float(models.mean()),
            sd=float(models.std(ddof=1)) if len(self._cells) > 1 else None,
            rouge_l=_mean(self._rouge),
            exact=_mean(self._exact),
            cells=self._cells,
            **_read(self._learner, self._jobs),
        )


def _read(learner: Learner, jobs: list[Job]) -> dict[str, int | None]:
    """Rows seen, tokens read and response tokens learned, on average over the models."""
    told = [one for job in jobs if (one := learner.reads(job.work)) is not None]
    if not told:
        return {"seen": None, "tokens": None, "learned": None}
    means = np.mean(told, axis=0).round().astype(int).tolist()
    return dict(zip(("seen", "tokens", "learned"), means, strict=True))


def _compare(asked: Trial, chosen: Arm, arm: Arm, measured: Mapping[str, _Cells]) -> Comparison:
    """Positive differences are losses that the baseline has and the selection has not."""
    same = all(
        np.array_equal(one, chosen.sets[run][0])
        for run, sets in enumerate(arm.sets)
        for one in sets
    )
    fixed = not asked.learner.seeded and not arm.redrawn
    told = None
    if not same or not arm.tokens:
        # Every draw is a run: a set of its own beside the selection, trained with the same seed.
        ours, theirs = (measured[one.name].loss for one in (chosen, arm))
        lead = (theirs - ours).reshape(-1, theirs.shape[2])
        told = paired(lead, fixed=fixed, drawn=arm.redrawn and arm.kind != FULL)
    seeds = asked.options.runs if asked.learner.seeded else None
    words = verdict(told, arm.name, asked.learner.unit, fixed=fixed, seeds=seeds)
    return Comparison(chosen.name, arm.name, arm.kind, words, told.facts() if told else None)


def _mean(values: Doubles) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmean(values))


def _sentence(one: Comparison) -> str:
    """The verdict with its subject dropped: `beats random: …`, `: no evidence that …`."""
    words = one.verdict.words
    return words if words.startswith(("beats", "loses", "has")) else f": {words}"


def _lines(one: Comparison) -> list[str]:
    told = f"{one.selection}{'' if _sentence(one).startswith(':') else ' '}{_sentence(one)}"
    if one.paired is None:
        return [told]
    p = one.paired
    runs = f"; in {p['runs_better']} of {p['runs']} runs" if p["runs"] > 1 else ""
    return [
        told,
        f"  better on {p['better']:,} of {counted(p['samples'], 'held-out row')}, "
        f"worse on {p['worse']:,} "
        f"(sign test p = {p['p_sign']:.2g}){runs}",
    ]
