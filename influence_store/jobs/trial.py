"""`trial`: does training on a selection help more than training on something cheaper?

arms → rows of every run → what is not known yet is trained and measured, one model after another,
each published when it is done → the comparison, from stored cells alone. A killed trial goes on
behind the last model; the same trial again trains nothing.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from influence_store.jobs.cost import duration
from influence_store.jobs.trial_cells import KIND, is_known, publish_measured
from influence_store.jobs.trial_plan import TrialPlan, trial_plan
from influence_store.jobs.trial_report import TrialReport, trial_report
from influence_store.jobs.trial_setup import set_up
from influence_store.schema.identity import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable

    from influence_store.jobs.trial_learners import Learner
    from influence_store.jobs.trial_setup import Job, Trial, TrialOptions
    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

_log = logging.getLogger(__name__)


def trial(
    store: Store,
    version: Version,
    options: TrialOptions,
    open_learner: Callable[[Store], Learner],
    holdout: Version | None = None,
    *,
    plan_only: bool = False,
) -> TrialReport | TrialPlan:
    """Compare stored selections of `version` with baselines by what a model learns from each.

    With `plan_only` nothing is trained but one step, which is timed and thrown away. UsageError
    for a selection from elsewhere, or where nothing is left to judge by.
    """
    asked = set_up(store, version, options, open_learner, holdout)
    due = _due(store, asked)
    plan = trial_plan(asked, due)
    if plan_only:
        return plan
    for line in plan.lines():
        _log.info("%s", line)
    params = {
        "dataset": str(version),
        "selections": [arm.name for arm in asked.selections],
        "holdout": asked.rows.source,
        "learner": asked.learner.name,
    }
    with store.claim("trial", f"trial:{asked.identity}", params) as run:
        spent = _train(store, run, asked, due)
        report = trial_report(store, asked, trained=len(due))
        run.report(report.facts(), spent)
    return report


def _due(store: Store, asked: Trial) -> list[Job]:
    """The jobs whose cells are not all known; what several arms share, once."""
    found: dict[str, Job] = {}
    for job in asked.jobs:
        known = store.find_producer(KIND, asked.learner.name, job.facts)
        if not is_known(store, known, asked.rows.held):
            found.setdefault(fingerprint(job.facts), job)
    return list(found.values())


def _train(store: Store, run: ActiveRun, asked: Trial, due: list[Job]) -> dict[str, int]:
    """Make every model that is due, publish what it makes of the held-out rows; what it cost."""
    spent = {"models": 0, "train_tokens": 0}
    began = time.monotonic()
    for done, job in enumerate(due, start=1):
        measured = asked.learner.measure(job.work, asked.rows.held)
        spent["models"] += 1
        spent["train_tokens"] += job.work.budget.tokens if job.work.budget else 0
        producer = store.producer(KIND, asked.learner.name, job.facts)
        publish_measured(store, run, producer, asked.rows.held, measured, spent)
        left = (time.monotonic() - began) / done * (len(due) - done)
        told = f"{job.arm.name}, seed {job.work.seed}: held-out loss {measured.loss.mean():.4f}"
        _log.info("%d of %d: %s; about %s to go", done, len(due), told, duration(left))
    return spent
