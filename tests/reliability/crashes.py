"""`kill -9` before one chosen system call of an ingest; then the store is judged and used."""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import straced
from history import Journal
from kills import Outcome, judge
from workload import DATASET, embed, ingest, keep, look, operation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from backends import Place, Places
    from straced import Call
    from workers import Scene

#: What changes files: the moments between two of them are all the moments that differ.
CALLS = (
    "write,pwrite64,rename,renameat,linkat,unlink,unlinkat,mkdir,fsync,fdatasync,ftruncate,openat"
)


def one_ingest(scene: Scene, name: str = "writer") -> None:
    """In a child: the second version of the dataset, its embeddings, and an artifact."""
    journal = Journal(scene.journals, name)
    with scene.place.opened() as store:
        ingest(store, operation(0, 1, scene.seed), scene.inputs, journal)
        embed(store, DATASET, journal)
        keep(store, journal, 1)


def prepared(scene: Scene) -> Scene:
    """With a first version in it."""
    journal = Journal(scene.journals, "first")
    with scene.place.opened() as store:
        ingest(store, operation(0, 0, scene.seed), scene.inputs, journal)
    journal.close()
    return scene


def points(places: Places, scene: Scene) -> list[tuple[str, int]]:
    """(call, n): every system call that changes a file of the store, n counted per thread."""
    trial = _again(scene, places.copy(scene.place), "trial")
    traced = straced.run(one_ingest, trial, calls=CALLS)
    assert traced.exit_code == 0, traced.exit_code

    def changes(call: Call) -> bool:
        creates = call.name != "openat" or "O_CREAT" in call.text
        paths = [
            call.path,
            call.result_path,
            *(one.decode(errors="replace") for one in call.strings[:1]),
        ]
        return creates and any(path.startswith(trial.place.uri) for path in paths)

    places.drop(trial.place)
    return sorted(traced.per_thread(changes))


def crash_at(
    places: Places,
    scene: Scene,
    chosen: Iterable[tuple[str, int]],
    told: Callable[[Outcome], None] = lambda _outcome: None,
) -> Outcome:
    """For each point: kill there, judge; repeat the ingest, judge; again, a no-op, judge."""
    whole = Outcome()
    for name, nth in chosen:
        again = _again(scene, places.copy(scene.place), f"{name}-{nth}")
        inject = f"{name}:signal=SIGKILL:when={nth}"
        traced = straced.run(one_ingest, again, calls=name, inject=inject)
        killed = traced.exit_code == -signal.SIGKILL
        outcome = judge(again, Outcome(Counter({f"killed in {name}": killed})))
        outcome.counts["points"] = int(killed)
        outcome.counts["points not reached"] = int(not killed)
        for repeat in ("second", "third"):
            one_ingest(again, repeat)
            outcome.violations += judge(again, Outcome()).violations
        with again.place.opened() as store:
            journal = Journal(again.journals, "reader")
            look(store, f"{DATASET}@1", journal)
        broken = [replace(one, told=f"{name} {nth}: {one.told}") for one in outcome.violations]
        outcome.violations = broken
        whole.add(outcome)
        places.drop(again.place)
        told(whole)
    return whole


def _again(scene: Scene, place: Place, name: str) -> Scene:
    """The prepared scene at a copy of its store, with its own account of what happened."""
    folder: Path = scene.folder / name
    again = replace(scene, place=place, folder=folder).make()
    first = "first.jsonl"
    (again.journals / first).write_bytes((scene.journals / first).read_bytes())
    return again
