"""Cut the power at every point of some ingests: whatever was acknowledged stands, whole."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import straced
from disk import CALLS, Disk
from history import Journal, Violation, check, read_journals
from kills import Outcome
from workload import DATASET, audit, embed, ingest, keep, operation

if TYPE_CHECKING:
    from disk import Cut
    from workers import Scene


def some_ingests(scene: Scene, first: int, count: int) -> None:
    """In a child: ingest and embed, `count` times."""
    journal = Journal(scene.journals, "writer")
    with scene.place.opened() as store:
        for number in range(first, first + count):
            ingest(store, operation(0, number, scene.seed), scene.inputs, journal)
            embed(store, DATASET, journal)
            keep(store, journal, number)


def cut_everywhere(scene: Scene, count: int = 2, every: int = 1) -> Outcome:
    """Trace `count` ingests on a store with one version, then open what each cut would leave.

    Only every `every`-th cut is opened, and always the last.
    """
    some_ingests(scene, 0, 1)
    before = read_journals(scene.journals)
    root = Path(scene.place.uri)
    disk = Disk(root, scene.journals / "writer.jsonl")
    traced = straced.run(some_ingests, scene, 1, count, calls=CALLS)
    assert traced.exit_code == 0, traced.exit_code
    outcome = Outcome()
    cuts = list(disk.cuts(traced.calls))
    if unseen := disk.differences():
        outcome.violations.append(Violation("blind model", f"the trace does not explain {unseen}"))
    for number, cut in enumerate(cuts):
        if number % every == 0 or number == len(cuts) - 1:
            outcome.add(_open_all(scene, cut, before, number))
    outcome.counts["system calls"] = len(traced.calls)
    outcome.counts["syncs"] = sum(call.name in ("fsync", "fdatasync") for call in traced.calls)
    return outcome


def _open_all(scene: Scene, cut: Cut, before: list[dict], number: int) -> Outcome:
    """The store after `cut`, on each kind of disk, judged by what was told until then."""
    outcome = Outcome()
    told = [json.loads(line) for line in cut.witness.splitlines() if line]
    for kind, tree in cut.trees.items():
        place = replace(scene.place, uri=str(scene.folder / f"cut-{number}-{kind}"))
        for name, content in tree.items():
            place.raw.write(name, content)
        broken = _judge(scene, place, before + told, f"{number}-{kind}")
        where = f"power cut {number} ({kind} disk) after {cut.after}"
        outcome.violations += [Violation(one.rule, f"{where}: {one.told}") for one in broken]
        outcome.counts += Counter({"cuts opened": 1, f"cuts of a {kind} disk": 1})
    return outcome


def _judge(scene: Scene, place, events: list[dict], name: str) -> list[Violation]:
    folder = scene.folder / f"audit-{name}"
    folder.mkdir()
    journal = Journal(folder, "audit")
    try:
        with place.opened() as store:
            audit(store, journal)
    except Exception as error:
        journal.fail("audit", error)
    journal.close()
    return check([*events, *read_journals(folder)])
