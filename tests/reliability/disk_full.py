"""A disk that is really full: the store on a small tmpfs of a namespace of our own, no root needed.

    unshare --map-root-user --mount python tests/reliability/disk_full.py FOLDER

For each of some amounts of free space, ingests into a store in FOLDER on a file system with just
so much left, and prints one JSON line: exit code, what was said, what the checker found.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import children
from backend import Sqlite
from backends import Places
from command_line import ask, in_child
from history import Journal
from kills import Outcome, judge
from workers import Scene
from workload import DATASET, operation, write_records

from influence_store.errors import StorageError

SIZE = "8m"
#: Bytes left when the ingest begins: from nothing at all to more than enough.
FREE = (0, 65536, 131072, 4 << 20)


def main(folder: Path) -> None:
    """Fill, ingest, look; make room, look again, ingest again."""
    for free in FREE:
        disk, scene_folder = folder / f"disk-{free}", folder / f"scene-{free}"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", disk], check=True)
        scene = Scene(Places(Sqlite(), disk).fresh(), scene_folder, seed=0).make()
        print(json.dumps({"free": free, **_one(scene, disk, free)}), flush=True)
        subprocess.run(["umount", "--lazy", disk], check=True)


def _one(scene: Scene, disk: Path, free: int) -> dict[str, object]:
    journal = Journal(scene.journals, "writer")
    _ingest(scene, journal, 0)
    filler = disk / "filler"
    filler.write_bytes(bytes(max(0, shutil.disk_usage(disk).free - free)))
    code, told = _ingest(scene, journal, 1)
    unreadable = _unreadable(scene)
    full = [] if unreadable else judge(scene, Outcome()).violations
    filler.unlink()
    roomy = judge(scene, Outcome()).violations
    again, _ = _ingest(scene, journal, 1)
    last = judge(scene, Outcome()).violations
    return {
        "exit": code,
        "told": told,
        "unreadable": unreadable,
        "again": again,
        "violations": [str(one) for one in (*full, *roomy, *last)],
        "interrupted": ask(scene.place, "status")["interrupted"],
    }


def _unreadable(scene: Scene) -> str:
    """Why the store cannot even be read now; empty if it can."""
    try:
        ask(scene.place, "status")
    except StorageError as error:
        return str(error)
    return ""


def _ingest(scene: Scene, journal: Journal, number: int) -> tuple[int, str]:
    """The verb in a child: how it ended, and what it said."""
    work = operation(0, number, scene.seed)
    added = write_records(scene.inputs / f"{number}.jsonl", work.adds)
    journal.begin(work.id, DATASET, work.adds, stamp=work.stamp)
    told = scene.folder / "told"
    arguments = ["ingest", added, "--dataset", DATASET, "--json"]
    code = children.run(in_child, scene.place, arguments, {}, told)
    if code == 0:
        report = json.loads(told.read_text())
        journal.ack(work.id, report["version"], changed=report["changed"])
    return code, told.read_text()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
