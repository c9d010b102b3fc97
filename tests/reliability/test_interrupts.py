"""Ctrl-C or SIGTERM at any step: exit 130, the command to go on with, nothing half written."""

from __future__ import annotations

import shlex
import signal

import children
import pytest
from command_line import ask, in_child
from history import Journal
from kills import Outcome, judge
from workload import DATASET, operation, write_records

STEPS = ("claimed", "block-written", "block-hashed", "publish-begun", "published", "finished")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_ingest_ends_with_130_and_can_go_on(scene, number):
    journal = Journal(scene.journals, "writer")
    for position, step in enumerate(STEPS):
        work = operation(0, position, scene.seed)
        added = write_records(scene.inputs / f"{position}.jsonl", work.adds)
        arguments = ["ingest", added, "--dataset", DATASET]
        told = scene.folder / f"told-{position}"
        journal.begin(work.id, DATASET, work.adds, stamp=work.stamp)

        code = children.run(in_child, scene.place, arguments, {}, told, (step, number))

        assert (step, code) == (step, 130)
        again = shlex.join(["influence-store", *scene.place.arguments, *arguments])
        assert told.read_text().endswith(f"To go on: {again}\n")
        status = ask(scene.place, "status")
        assert status["working"] == []
        assert judge(scene, Outcome()).violations == []
        report = ask(scene.place, *arguments)
        journal.ack(work.id, report["version"], changed=report["changed"])
    journal.close()
    assert judge(scene, Outcome()).violations == []
    status = ask(scene.place, "status")
    assert (status["working"], status["interrupted"]) == ([], [])
    assert status["datasets"][0]["version"] == len(STEPS)
