"""Stopped past its lease: another takes over, then the sleeper wakes. It must not publish.

A child stops itself (SIGSTOP) at a named step of an ingest. Another writer, here, waits until the
lease has run out, takes the dataset over and publishes. Then the child goes on (SIGCONT).
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import children
from history import Journal, Violation
from kills import Outcome, judge
from workload import ingest, operation

from influence_store.errors import Busy, InfluenceStoreError
from influence_store.jobs import gc
from influence_store.settings import LEASE_VARIABLE
from influence_store.store import artifacts, blocks, runs
from influence_store.store.faults import STEPS as STEPS_OF_A_RUN

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess

    from workers import Scene

LEASE = 1.0
#: Where a writer can fall asleep while it holds a claim, and must not publish when it wakes.
STEPS = tuple(
    step
    for step in STEPS_OF_A_RUN[: STEPS_OF_A_RUN.index("published")]
    if step != "artifact-written"
)
_OUTCOMES = {0: "acknowledged", 10: "fenced", 11: "its files were gone"}


def sleeper(scene: Scene, step: str, number: int) -> None:
    """In a child: ingest, stopping at `step`; exit code 10 if fenced, 11 for any other error."""

    asleep = []

    def stop_at(name: str) -> None:
        if name == step and not asleep:
            asleep.append(name)
            os.kill(os.getpid(), signal.SIGSTOP)

    for module in (runs, blocks, artifacts):
        module.step = stop_at
    journal = Journal(scene.journals, f"sleeper-{number}")
    work = operation(0, number, scene.seed)
    os.environ[LEASE_VARIABLE] = str(LEASE)
    with scene.place.opened() as store:
        try:
            ingest(store, work, scene.inputs, journal)
        except InfluenceStoreError as error:
            journal.fail(work.id, error)
            os._exit(10 if type(error).__name__ == "Fenced" else 11)


def awake(scene: Scene, step: str, number: int, *, collect: bool) -> Outcome:
    """One sleeper at `step`, one writer that takes over; `collect` removes the sleeper's files."""
    os.environ[LEASE_VARIABLE] = str(LEASE)  # of the successor, whose heart beats as fast
    process = children.start(sleeper, scene, step, number)
    children.wait_until(lambda: _stopped(process))
    journal = Journal(scene.journals, f"successor-{number}")
    work = operation(1, number, scene.seed)
    try:
        with scene.place.opened() as store:
            _take_over(partial(ingest, store, work, scene.inputs, journal))
            if collect:
                gc.BALLAST_BYTES = 1
                gc.gc(store, grace=0, act=True)
    finally:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGCONT)
    code = children.finish(process)
    outcome = Outcome(Counter({"sleepers": 1, _OUTCOMES.get(code, f"exit {code}"): 1}))
    if code not in (10, 11) or (code == 11 and not collect):
        told = f"stopped at {step} past its lease, it ended with {code} and not as fenced"
        outcome.violations.append(Violation("zombie", told))
    return outcome


def settle(scene: Scene, outcome: Outcome) -> Outcome:
    """Judge the history; an error that only lost files can cause is as good as being fenced."""
    judged = judge(scene, Outcome())
    lost = [
        one
        for one in judged.violations
        if "sleeper-" in one.told and one.rule == "unexpected error"
    ]
    expected = outcome.counts["its files were gone"]
    if len(lost) <= expected:
        judged = replace(judged, violations=[v for v in judged.violations if v not in lost])
    outcome.add(judged)
    return outcome


def _take_over(work: Callable[[], object]) -> None:
    """Wait for the lease to run out, as a person would."""
    end = time.monotonic() + 120
    while True:
        try:
            work()
            return
        except Busy:
            assert time.monotonic() < end, "the lease of a stopped process never ran out"
            time.sleep(LEASE / 10)


def _stopped(process: BaseProcess) -> bool:
    """Does it sleep now? It must not have ended instead."""
    state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
    assert state != "Z", "it ended before it could be stopped"
    return state == "T"
