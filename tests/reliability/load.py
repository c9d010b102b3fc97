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
#: More than this is growth, of what a process had at the end of its second store.
GROWTH = 0.05


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
    seconds: float,
    stores: int,
    seed: int,
    told: Callable[[Outcome], None] = lambda _outcome: None,
) -> Outcome:
    """The load for `seconds`, over `stores` stores; each is judged when it is over."""
    scenes = [
        Scene(places.fresh(), folder / f"scene-{number}", seed + number).make()
        for number in range(stores)
    ]
    acts: dict[str, Callable[[Scene], None]] = {
        **{f"reader-{k}": partial(workers.reader, number=k, pause=0.05) for k in range(READERS)},
        **{f"writer-{k}": partial(workers.writer, number=k, pause=0.5) for k in range(WRITERS)},
        "collector-0": partial(workers.collector, number=0, pause=1.0),
    }
    cast = {name: children.start(play, act, scenes) for name, act in acts.items()}
    whole, footprints = Outcome(), []
    for scene in scenes:
        (scene.folder / "begin").touch()
        time.sleep(seconds / stores)
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


def _left(scene: Scene, cast: dict[str, BaseProcess]) -> bool:
    living = sum(process.is_alive() for process in cast.values())
    return len(list(scene.folder.glob("left-*"))) >= min(living, len(cast)) or living == 0


def _grown(footprints: list[dict[str, Footprint]]) -> list[Violation]:
    """Compare the last store with the second: the first still warms up."""
    if len(footprints) < 4:
        return []
    broken = []
    for name in footprints[0]:
        first, last = footprints[1][name], footprints[-1][name]
        if last.files > first.files or last.memory > (1 + GROWTH) * first.memory:
            told = f"{name} had {first}, has {last}"
            broken.append(Violation("growth", told))
    return broken
