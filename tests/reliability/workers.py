"""Processes that use one store at once until they are told to stop, or killed.

Each runs one function below in a child of the warm parent. A writer that comes back after a kill
first repeats what its predecessor had begun, as a person would.
"""

from __future__ import annotations

import itertools
import random
import signal
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from history import Journal, read_journal
from workload import DATASET, Operation, embed, ingest, look, operation

from influence_store.errors import Busy, Fenced, NotFound
from influence_store.jobs import embed as embed_job
from influence_store.jobs import gc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from backends import Place

    from influence_store.store.store import Store

#: Small, so that completing the embeddings of one version takes several publishes.
CHUNK_ROWS = 4


@dataclass(frozen=True)
class Scene:
    """One store, where its processes write their journals, and the file that ends the scene."""

    place: Place
    folder: Path
    seed: int

    @property
    def journals(self) -> Path:
        """Where every process writes what it did."""
        return self.folder / "journals"

    @property
    def inputs(self) -> Path:
        """Where writers put the files they ingest."""
        return self.folder / "inputs"

    def make(self) -> Scene:
        """The folders of the scene."""
        self.journals.mkdir(parents=True)
        self.inputs.mkdir()
        return self

    def stop(self) -> None:
        """Every process ends after what it is doing now."""
        (self.folder / "stop").touch()

    @property
    def over(self) -> bool:
        """Has it been told to stop?"""
        return (self.folder / "stop").exists()


def writer(scene: Scene, number: int, pause: float = 0.0) -> None:
    """Ingest and embed, one operation after another; now and then the same one again."""
    embed_job.CHUNK_ROWS = CHUNK_ROWS

    def work(store: Store, journal: Journal) -> None:
        rng = random.Random()
        position = _position(scene, number)
        while not scene.over:
            todo = operation(number, position, scene.seed)
            steps = (partial(ingest, store, todo, scene.inputs), partial(embed, store, DATASET))
            if not all(_insist(step, scene, journal, todo) for step in steps):
                return
            position += rng.random() < 0.8
            time.sleep(pause * rng.random())

    _live(scene, f"writer-{number}", work)


def reader(scene: Scene, number: int, pause: float = 0.2) -> None:
    """Read the head again and again, whole."""

    def work(store: Store, journal: Journal) -> None:
        while not scene.over:
            try:
                look(store, DATASET, journal)
            except NotFound:
                journal.write("nothing")
            time.sleep(pause)

    _live(scene, f"reader-{number}", work)


def collector(scene: Scene, number: int, pause: float = 1.0) -> None:
    """Remove what no live run and no version needs."""
    gc.BALLAST_BYTES = 1  # what a full disk would need is no matter here

    def work(store: Store, journal: Journal) -> None:
        while not scene.over:
            journal.write("collecting")
            try:
                report = gc.gc(store, grace=0, act=True)
            except (Busy, Fenced) as error:
                journal.fail("gc", error)
            else:
                tables, retired = report.tables_of_dead_runs, report.retired_blocks
                journal.write("collected", files=tables.files + retired.files)
            time.sleep(pause)

    _live(scene, f"collector-{number}", work)


def _live(scene: Scene, name: str, work: Callable[[Store, Journal], None]) -> None:
    """Run `work` with a store and a journal; whatever it raises is in the journal."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    journal = Journal(scene.journals, name)
    journal.write("start")
    try:
        with scene.place.opened() as store:
            work(store, journal)
    except Exception as error:
        journal.fail(name, error)
        raise
    else:
        journal.write("end")
    finally:
        journal.close()


def _insist(
    step: Callable[[Journal], Any], scene: Scene, journal: Journal, todo: Operation
) -> bool:
    """Try until it is done; somebody else at work, or having taken over, is no reason to give up.

    False if the scene was over before.
    """
    for attempt in itertools.count(1):
        try:
            step(journal)
        except (Busy, Fenced) as error:
            journal.fail(todo.id, error)
        else:
            return True
        if scene.over:
            return False
        time.sleep(random.uniform(0.05, 0.2) * min(attempt, 4))
    raise AssertionError


def _position(scene: Scene, number: int) -> int:
    """Where the predecessor was: the operation it began last."""
    begun = [
        event["op"]
        for event in read_journal(scene.journals / f"writer-{number}.jsonl")
        if event["what"] == "begin"
    ]
    return int(begun[-1].partition("-")[2]) if begun else 0
