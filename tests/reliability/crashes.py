"""`kill -9` at a system call of an ingest; then the store is judged and used.

Twice: `replayed` opens what a kill at each call would leave, told from one trace, which is every
moment that differs; `crash_at` really kills, at a call of which strace counts each thread's own.
"""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import disk
import straced
from history import Journal, Violation
from kills import Outcome, judge
from workload import DATASET, embed, ingest, keep, look, operation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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


def replayed(
    scene: Scene, every: int = 1, told: Callable[[Outcome], None] = lambda _outcome: None
) -> Outcome:
    """Trace one ingest into a copy of a local store; judge and repeat after each `every`-th kill.

    A blind trace, which does not explain all that lies there in the end, is a violation.
    """
    start = Path(scene.place.uri)
    model = disk.Disk(start, scene.journals / "writer.jsonl")
    traced = straced.run(one_ingest, scene, calls=disk.CALLS)
    assert traced.exit_code == 0, traced.exit_code
    whole = Outcome()
    for number, kill in enumerate(model.kills(traced.calls)):
        if number % every == 0:
            whole.add(_left(scene, kill, number))
            told(whole)
    if unseen := model.differences():
        whole.violations.append(Violation("blind model", f"the trace does not explain {unseen}"))
    return whole


def _left(scene: Scene, kill: disk.Kill, number: int) -> Outcome:
    place = replace(scene.place, uri=str(scene.folder / f"store-{number}"))
    again = _again(scene, place, f"kill-{number}")
    (again.journals / "writer.jsonl").write_bytes(kill.witness)
    for folder in kill.folders:
        Path(place.uri, folder).mkdir(parents=True, exist_ok=True)
    for name, content in kill.tree.items():
        place.raw.write(name, content)
    outcome = judge(again, Outcome(Counter({"points": 1})))
    return _repeated(again, outcome, 1, f"killed after {number} {kill.after}")


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
        whole.add(_repeated(again, outcome, 2, f"{name} {nth}"))
        places.drop(again.place)
        told(whole)
    return whole


def _repeated(again: Scene, outcome: Outcome, times: int, where: str) -> Outcome:
    """What another process finds that does the work again, and again; the first version stands."""
    for number in range(times):
        one_ingest(again, f"repeat-{number}")
        outcome.violations += judge(again, Outcome()).violations
    with again.place.opened() as store:
        look(store, f"{DATASET}@1", Journal(again.journals, "reader"))
    broken = [replace(one, told=f"{where}: {one.told}") for one in outcome.violations]
    return replace(outcome, violations=broken)


def _again(scene: Scene, place: Place, name: str) -> Scene:
    """The prepared scene at a copy of its store, with its own account of what happened."""
    again = replace(scene, place=place, folder=scene.folder / name).make()
    first = "first.jsonl"
    (again.journals / first).write_bytes((scene.journals / first).read_bytes())
    return again
