"""Many readers, two writers and a collector at once, for long: no torn read, no growth.

Processes live as long as the load; the store is exchanged for a fresh one every few minutes, as
one that is never compacted gets slower with each version. So memory and open files of a process
can be compared from store to store: what grows is a leak.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import children
import workers
from history import Violation
from kills import Outcome, judge
from workers import Scene

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess

    from backends import Places

READERS, WRITERS = 16, 2
#: More than this is growth, of what a process had after the first third of its stores.
GROWTH = 0.05
#: A process may just be reading when it is looked at.
FILES_IN_USE = 3


@dataclass(frozen=True)
class Footprint:
    """Memory that is a process's own, in bytes, and its open files."""

    memory: int
    files: int


def play(act: Callable[[Scene], None], scenes: list[Scene]) -> None:
    """In a child: the same act in one scene after another, each until it is over."""
    for scene in scenes:
        children.wait_until(lambda scene=scene: (scene.folder / "begin").exists(), 3600)
        act(scene)
        (scene.folder / f"left-{os.getpid()}").touch()


def load(
    places: Places,
    folder: Path,
    *,
    seconds: float = 0,
    reads: int = 0,
    stores: int = 1,
    seed: int = 0,
    told: Callable[[Outcome], None] = lambda _outcome: None,
    pace: float = 1.0,
) -> Outcome:
    """The load for so many seconds and reads at least, over `stores` stores.

    Each store is judged when its share is over. Processes rest `pace` times as long between two
    acts, to leave room for others on the machine.
    """
    scenes = [
        Scene(places.fresh(), folder / f"scene-{number}", seed + number).make()
        for number in range(stores)
    ]
    acts = [
        *[(f"reader-{k}", workers.reader, k, 0.05) for k in range(READERS)],
        *[(f"writer-{k}", workers.writer, k, 0.5) for k in range(WRITERS)],
        ("collector-0", workers.collector, 0, 1.0),
    ]
    cast = {
        name: children.start(play, partial(act, number=number, pause=pause * pace), scenes)
        for name, act, number, pause in acts
    }
    whole, footprints = Outcome(), []
    for scene in scenes:
        (scene.folder / "begin").touch()
        time.sleep(seconds / stores)
        enough = partial(_read_often, scene, reads / stores, cast)
        children.wait_until(enough, 3600, pause=0.2)
        footprints.append({name: footprint(process) for name, process in cast.items()})
        scene.stop()
        left = partial(_left, scene, cast)
        children.wait_until(left, 600)
        whole.add(judge(scene, Outcome()))
        told(whole)
    for name, process in cast.items():
        if (code := children.finish(process)) != 0:
            whole.violations.append(Violation("crash", f"{name} ended with {code}"))
    for scene in scenes:
        places.drop(scene.place)
    whole.violations += _grown(footprints)
    return whole


def footprint(process: BaseProcess) -> Footprint:
    """As the kernel sees it; 0 for a process that ended."""
    folder = Path(f"/proc/{process.pid}")
    try:
        status = (folder / "smaps_rollup").read_text()
        files = len(list((folder / "fd").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return Footprint(0, 0)
    private = [line.split()[1] for line in status.splitlines() if line.startswith("Private_Dirty")]
    return Footprint(1024 * int(private[0]), files)


def _read_often(scene: Scene, reads: float, cast: dict[str, BaseProcess]) -> bool:
    """Has every reader done its share? Also where one has died, which will be told."""
    if not all(process.is_alive() for process in cast.values()):
        return True
    journals = [scene.journals / f"reader-{number}.jsonl" for number in range(READERS)]
    told = [path.read_bytes().count(b'"what": "read"') if path.exists() else 0 for path in journals]
    return sum(told) >= reads and min(told) > 0


def _left(scene: Scene, cast: dict[str, BaseProcess]) -> bool:
    """Has every process done what it was doing, or ended? Only then can the store be judged."""
    return all(
        (scene.folder / f"left-{process.pid}").exists() or not process.is_alive()
        for process in cast.values()
    )


def _grown(footprints: list[dict[str, Footprint]]) -> list[Violation]:
    """Compare the last store with one by which caches and allocators have warmed up."""
    if len(footprints) < 4:
        return []
    broken = []
    for name in footprints[0]:
        first, last = footprints[len(footprints) // 3][name], footprints[-1][name]
        more = last.files - first.files
        if more > FILES_IN_USE or last.memory > (1 + GROWTH) * first.memory:
            told = f"{name} had {first}, has {last}"
            broken.append(Violation("growth", told))
    return broken
