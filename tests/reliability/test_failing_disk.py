"""A disk that answers a write or a sync with an error: exit 6, and the old state stands."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import straced
from command_line import ask, in_child
from crashes import prepared
from history import Journal
from kills import Outcome, judge
from workload import DATASET, operation, write_records

pytestmark = pytest.mark.skipif(bool(straced.works()), reason=straced.works() or "strace works")

#: fdatasync and pwrite64 are SQLite's, fsync ours.
CALLS = ("fsync", "fdatasync", "pwrite64")
EACH = 2


def failing(scene, name, **faults):
    """An ingest whose n-th call of some kind fails; the trace and what it said."""
    work = operation(0, 1, scene.seed)
    added = write_records(scene.inputs / "1.jsonl", work.adds)
    arguments = ["ingest", added, "--dataset", DATASET, "--json"]
    journal = Journal(scene.journals, name)
    journal.begin(work.id, DATASET, work.adds, stamp=work.stamp)
    told = scene.folder / "told"
    traced = straced.run(in_child, scene.place, arguments, {}, told, **faults)
    if traced.exit_code == 0:
        report = json.loads(told.read_text())
        journal.ack(work.id, report["version"], changed=report["changed"])
    journal.close()
    return traced, told.read_text()


def at(scene, place, name):
    """The prepared scene at a copy of its store."""
    again = replace(scene, place=place, folder=scene.folder / name).make()
    (again.journals / "first.jsonl").write_bytes((scene.journals / "first.jsonl").read_bytes())
    return again


def test_an_error_of_the_disk_is_exit_6_and_costs_nothing(places, scene):
    if scene.place.backend != "sqlite":
        pytest.skip("of a local disk under both the blocks and the catalog")
    prepared(scene)
    trial = at(scene, places.copy(scene.place), "trial")
    traced, _ = failing(trial, "writer", calls=",".join(CALLS))
    found = traced.per_thread(lambda call: call.path.startswith(trial.place.uri))
    codes = []
    for name in CALLS:
        counts = sorted(nth for call, nth in found if call == name)
        for nth in counts[:: max(1, len(counts) // EACH)][:EACH]:
            again = at(scene, places.copy(scene.place), f"{name}-{nth}")
            fault = f"{name}:error=EIO:when={nth}"
            traced, told = failing(again, "writer", calls=name, inject=fault)
            codes.append(traced.exit_code)
            assert traced.exit_code in (0, 6), (fault, told)
            assert "Traceback" not in told
            assert judge(again, Outcome()).violations == [], fault
            assert failing(again, "rerun", calls=name)[0].exit_code == 0
            assert judge(again, Outcome()).violations == [], fault
            assert ask(again.place, "status")["working"] == []
            places.drop(again.place)
    assert len(codes) == EACH * len(CALLS)
    assert codes.count(6) > len(codes) / 2
