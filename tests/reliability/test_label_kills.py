"""A label job that dies again and again: each pair is stored once, one batch a kill is paid twice.

The incident behind it: LLM passes cost money, and a job of days is killed many times.
"""

from __future__ import annotations

import json
import signal
from collections import Counter

import children
import polars as pl
import pytest
from command_line import ask
from history import text_of
from labelling import label

from influence_store.store.grid import open_block

KILLS, ROWS, PAIRS = 20, 40, 600
#: In turn: the batch is lost, lost, kept; kept and the next one lost.
STEPS = ("block-written", "publish-begun", "published", "block-synced:2")


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    texts = [dict(zip(("instruction", "output"), text_of(k), strict=True)) for k in range(ROWS)]
    path.write_text("".join(json.dumps(text) + "\n" for text in texts))
    return str(path)


def stored(place):
    """Every pair with its value, as often as it lies there."""
    with place.opened() as store:
        batches = [
            batch
            for block in store.blocks("pairs")
            for batch in open_block(store.storage, block).scan(["source", "target", "delift-l2"])
        ]
    return pl.concat([pl.DataFrame(pl.from_arrow(batch)) for batch in batches]).sort(
        "source", "target"
    )


@pytest.mark.slow
def test_labels_of_a_job_killed_again_and_again_are_stored_once(places, tmp_path, tiny_llm, rows):
    whole = places.fresh()
    ask(whole, "ingest", rows, "--dataset", "demo")
    command = ["label", "demo", "--model", str(tiny_llm), "--pairs", str(PAIRS)]
    place = places.copy(whole)
    ask(whole, *command)
    asked = tmp_path / "asked"

    for number in range(KILLS):
        step = STEPS[number % len(STEPS)]
        code = children.run(label, place, [*command], step, asked)
        assert (number, code) == (number, -signal.SIGKILL)
    assert children.run(label, place, command, "", asked) == 0

    found, expected = stored(place), stored(whole)
    assert found.select("source", "target").equals(expected.select("source", "target"))
    assert found["delift-l2"].to_list() == pytest.approx(expected["delift-l2"].to_list(), abs=1e-5)
    batches = [json.loads(line) for line in asked.read_text().splitlines()]
    wanted = Counter({source: size for source, size in batches})
    assert sum(wanted.values()) == expected.height
    assert KILLS / 2 <= len(batches) - len(wanted) <= KILLS
    assert ask(place, "verify")["problems"] == []
    for one in (place, whole):
        places.drop(one)
