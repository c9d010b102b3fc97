"""What is decided before anything is trained: rows, arms, budget, and every model to be made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pyroaring import BitMap

from influence_store.errors import UsageError
from influence_store.jobs.cells import content_ids
from influence_store.jobs.stored_selection import stored_selection
from influence_store.jobs.trial_arms import trial_arms
from influence_store.jobs.trial_learners import Work
from influence_store.jobs.trial_rows import trial_rows
from influence_store.schema.identity import fingerprint
from influence_store.trial.arms import FULL_EPOCH, SELECTION, TOLD, UNTRAINED, USUAL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from influence_store.jobs.stored_selection import StoredSelection
    from influence_store.jobs.trial_arms import Arms
    from influence_store.jobs.trial_learners import Learner
    from influence_store.jobs.trial_rows import TrialRows
    from influence_store.protocols import Ids
    from influence_store.store.store import Store
    from influence_store.store.versions import Version
    from influence_store.trial.arms import Arm
    from influence_store.trial.budget import Budget


@dataclass(frozen=True)
class TrialOptions:
    """What is compared and how often. `tokens` None = `epochs` times the largest selection.

    `runs` models per arm, of seeds `seed`, `seed` + 1, …; `draws` random sets for each of them.
    `held_out` rows are judged by, at most.
    """

    selections: tuple[str, ...]
    arms: tuple[str, ...] = USUAL
    runs: int = 3
    draws: int = 3
    held_out: int = 200
    epochs: float = 1.0
    tokens: int | None = None
    keep_leaks: bool = False
    seed: int = 0

    @property
    def seeds(self) -> tuple[int, ...]:
        """One per run."""
        return tuple(range(self.seed, self.seed + self.runs))


@dataclass(frozen=True)
class Job:
    """One model of an arm: run and draw say which; `facts` are what its cells depend on."""

    arm: Arm
    run: int
    draw: int
    work: Work
    facts: dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """A trial as asked; `holdout` is the dataset that was named to judge by, if one was."""

    version: Version
    options: TrialOptions
    learner: Learner
    rows: TrialRows
    arms: Arms
    jobs: tuple[Job, ...]

    @property
    def selections(self) -> list[Arm]:
        """The arms that are judged."""
        return [arm for arm in self.arms.arms if arm.kind == SELECTION]

    @property
    def identity(self) -> str:
        """12 hex digits over arms, rows, settings and seeds."""
        asked = {
            "dataset": str(self.version),
            "arms": [[arm.kind, arm.name, list(arm.of)] for arm in self.arms.arms],
            "jobs": [job.facts for job in self.jobs],
            "held": self.rows.facts(),
            "sids": self.rows.held.tolist(),
        }
        return fingerprint(asked)[:12]


def set_up(
    store: Store,
    version: Version,
    options: TrialOptions,
    open_learner: Callable[[Store], Learner],
    holdout: Version | None,
) -> Trial:
    """UsageError for a selection from elsewhere, or where nothing is left to judge by."""
    names = dict.fromkeys(options.selections)
    found = {one.row.id: one for one in (_selection(store, version, name) for name in names)}
    chosen = BitMap().union(*[BitMap(one.sids.astype(np.uint32)) for one in found.values()])
    rows = trial_rows(
        store,
        version,
        chosen,
        holdout,
        count=options.held_out,
        seed=options.seed,
        keep_leaks=options.keep_leaks,
    )
    learner = open_learner(store)
    rows = rows.readable(learner.usable(rows.pool), learner.usable(rows.held))
    # Without tokens all data are read once anyway, and there is nothing before the training.
    kinds = [one for one in options.arms if learner.tuned or one not in (UNTRAINED, FULL_EPOCH)]
    arms = trial_arms(
        store,
        version,
        list(found.values()),
        rows.pool,
        kinds,
        seeds=options.seeds,
        draws=options.draws,
    )
    gone = [f"{TOLD[one]} (the {learner.name} has no such)" for one in options.arms]
    skipped = [told for one, told in zip(options.arms, gone, strict=True) if one not in kinds]
    arms = replace(arms, left_out=(*arms.left_out, *skipped))
    jobs = tuple(_jobs(store, options, learner, rows, arms))
    return Trial(version, options, learner, rows, arms, jobs)


def _selection(store: Store, version: Version, name: str) -> StoredSelection:
    found = stored_selection(store, name)
    if not BitMap(found.sids.astype(np.uint32)) <= version.bits:
        raise UsageError(
            f"selection {found.row.id} chose from {found.version}, not from {version}",
            hint=f"influence-store trial {found.version} --selection {found.row.id}",
        )
    return found


def _jobs(
    store: Store, options: TrialOptions, learner: Learner, rows: TrialRows, arms: Arms
) -> list[Job]:
    """Every model of every arm, run by run: a trial that is stopped has whole runs."""
    ids = _Ids(store, rows)
    budget = _budget(options, learner, rows, arms)
    jobs = []
    for run, seed in enumerate(options.seeds):
        for arm in arms.arms:
            for draw, sids in enumerate(arm.sets[run]):
                ordered = ids.ordered(sids)
                own = budget if arm.tokens else _once(learner, rows, ordered)
                work = Work(ordered, seed, own if len(ordered) else None)
                jobs.append(Job(arm, run, draw, work, _facts(learner, work, ids, rows)))
    return jobs


class _Ids:
    """Contents by sid, of all rows of a trial."""

    def __init__(self, store: Store, rows: TrialRows) -> None:
        sids = np.union1d(rows.pool, rows.held)
        self._of: Mapping[int, bytes] = dict(
            zip(sids.tolist(), content_ids(store, sids), strict=True)
        )

    def ordered(self, sids: Ids) -> Ids:
        """In the order of the contents, which is the same in every store."""
        return np.array(sorted(sids.tolist(), key=self._of.__getitem__), np.int64)

    def digest(self, sids: Ids) -> str:
        """Of the contents of `sids`, whatever their order."""
        return fingerprint({"ids": sorted(self._of[sid].hex() for sid in sids.tolist())})


def _facts(learner: Learner, work: Work, ids: _Ids, rows: TrialRows) -> dict[str, Any]:
    """What decides the cells of one model: settings, rows by content, seed, budget."""
    budget, told = work.budget, dict(learner.facts)
    trained = len(work.rows) > 0
    return {
        "learner": told,
        "rows": ids.digest(work.rows) if trained else None,
        "n_rows": len(work.rows),
        "seed": work.seed if learner.seeded and trained else None,
        "budget": [budget.tokens, budget.steps] if budget else None,
        # Which held-out rows are answered in words depends on which there are.
        "answered": ids.digest(rows.held) if told.get("answers", [0])[0] else None,
    }


def _budget(options: TrialOptions, learner: Learner, rows: TrialRows, arms: Arms) -> Budget | None:
    """What every arm reads: as told, or `epochs` times the tokens of the largest selection."""
    if not learner.tuned:
        return None
    longest = int(learner.tokens(rows.pool).max())
    most = max(
        int(learner.tokens(arm.sets[0][0]).sum()) for arm in arms.arms if arm.kind == SELECTION
    )
    return learner.budget(options.tokens or max(round(options.epochs * most), longest), longest)


def _once(learner: Learner, rows: TrialRows, sids: Ids) -> Budget | None:
    if not learner.tuned:
        return None
    longest = int(learner.tokens(rows.pool).max())
    return learner.budget(int(learner.tokens(sids).sum()), longest)
