"""Random `kill -9`: two writers of one dataset, a collector and readers; one after another dies."""

from __future__ import annotations

import os
import random
import signal
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import children
import workers
from history import Journal, Violation, check, read_journal, read_journals
from workload import audit

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from backends import Places
    from workers import Scene

#: Kills before a scene is judged and the next begins with a fresh store, which is small and fast.
KILLS_PER_STORE = 10


@dataclass
class Outcome:
    """What was tried how often, and what broke."""

    counts: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Take in the next scene."""
        self.counts += other.counts
        self.violations += other.violations


def kill_at_random(
    places: Places, folder: Path, kills: int, seed: int, told: Callable[[Outcome], None]
) -> Outcome:
    """`kills` kills in as many stores as that takes; `told` is called after each store."""
    whole = Outcome()
    while whole.counts["kills"] < kills and not whole.violations:
        number = len(list(folder.glob("scene-*")))
        scene = workers.Scene(places.fresh(), folder / f"scene-{number}", seed + number).make()
        left = min(KILLS_PER_STORE, kills - whole.counts["kills"])
        whole.add(_scene(scene, left))
        if not whole.violations:
            places.drop(scene.place)
        told(whole)
    return whole


def _scene(scene: Scene, kills: int) -> Outcome:
    rng = random.Random(scene.seed)
    cast = {
        "writer-0": (workers.writer, 0),
        "writer-1": (workers.writer, 1),
        "reader-0": (workers.reader, 0),
        "collector-0": (workers.collector, 0),
    }
    living = {name: children.start(work, scene, number) for name, (work, number) in cast.items()}
    children.wait_until(lambda: all(_first_ingests(scene, f"writer-{k}") for k in (0, 1)))
    counts: Counter[str] = Counter()
    names, weights = list(cast), [3 if name.startswith("writer") else 1 for name in cast]
    for _ in range(kills):
        (name,) = rng.choices(names, weights)
        children.wait_until(lambda name=name: _at_work(scene, name))
        time.sleep(rng.uniform(0, 1.5) * _typical_seconds(scene))
        counts.update(kill(living[name], scene, name))
        work, number = cast[name]
        living[name] = children.start(work, scene, number)
    broken = end(scene, living)
    return judge(scene, Outcome(counts, broken))


def _at_work(scene: Scene, name: str) -> bool:
    """Has the process done more than to start? So that a loaded machine kills no mere start-ups."""
    events = list(read_journal(scene.journals / f"{name}.jsonl"))
    return bool(events) and events[-1]["what"] != "start"


def _typical_seconds(scene: Scene) -> float:
    """How long a process that was just started needs for an ingest, here and now."""
    both = [_first_ingests(scene, f"writer-{k}")[-3:] for k in (0, 1)]
    return statistics.median([*both[0], *both[1]])


def _first_ingests(scene: Scene, name: str) -> list[float]:
    """Seconds of the first acknowledged ingest after each start of a writer."""
    took, began, fresh = [], 0.0, False
    for event in read_journal(scene.journals / f"{name}.jsonl"):
        if event["what"] == "start":
            fresh = True
        elif event["what"] == "begin":
            began = event["at"]
        elif event["what"] == "ack" and fresh:
            took.append(event["at"] - began)
            fresh = False
    return took


def kill(victim: BaseProcess, scene: Scene, name: str) -> Counter[str]:
    """`kill -9`; says what it hit."""
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    children.finish(victim)
    last = list(read_journal(scene.journals / f"{name}.jsonl"))
    inside = bool(last) and last[-1]["what"] in ("begin", "embedding", "collecting")
    role = name.partition("-")[0]
    return Counter({"kills": 1, f"kills of a {role}": 1, f"inside work of a {role}": inside})


def end(scene: Scene, living: dict[str, BaseProcess]) -> list[Violation]:
    """Let everybody finish; a process that hangs or fails is a violation."""
    scene.stop()
    broken = []
    for name, process in living.items():
        try:
            code = children.finish(process)
        except AssertionError as error:
            broken.append(Violation("hang", f"{name}: {error}"))
            continue
        if code != 0:
            broken.append(Violation("crash", f"{name} ended with {code}"))
    return broken


def judge(scene: Scene, outcome: Outcome) -> Outcome:
    """Audit the store in this process, then let the history decide."""
    journal = Journal(scene.journals, "audit")
    try:
        with scene.place.opened() as store:
            audit(store, journal)
    except Exception as error:
        journal.fail("audit", error)
    journal.close()
    events = read_journals(scene.journals)
    outcome.counts.update(_counts(events))
    outcome.violations += check(events)
    return outcome


def _counts(events: list[dict[str, Any]]) -> Counter[str]:
    told = Counter(event["what"] for event in events)
    acked = {event["op"] for event in events if event["what"] == "ack"}
    begun = {event["op"] for event in events if event["what"] == "begin"}
    return Counter(
        {
            "stores": 1,
            "ingests begun": told["begin"],
            "ingests acknowledged": told["ack"],
            "contents never acknowledged": len(begun - acked),
            "versions": told["version"],
            "reads": told["read"],
            "busy or fenced": told["fail"],
            "collections": told["collected"],
            "files collected": sum(e["files"] for e in events if e["what"] == "collected"),
        }
    )
