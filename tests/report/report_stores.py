"""What the stores of these tests are made of, and how they are asked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from click.testing import CliRunner
from pyroaring import BitMap

from influence_store.cli import cli
from influence_store.jobs.report import report_facts
from influence_store.schema import tables
from influence_store.store.store import Store
from influence_store.version import __version__

#: What nobody may be deceived or attacked by.
HOSTILE = {
    "script": "</script><script>window.hacked = 1</script>",
    "markup": "<img src=x onerror='window.hacked = 2'>",
    "turned": "safe \u202etxt.exe\u2066",
    "control": "bell \x07 escape \x1b[31m null-like \u200b",
    "template": "{{ 7 * 7 }} {% if %} ${window.hacked = 3}",
    "comment": "<!-- --!> <![CDATA[ ]]>",
}


@dataclass(frozen=True)
class Kept:
    """A store at a place, opened as often as asked, and its command line."""

    uri: str

    def open(self) -> Store:
        return Store.open(self.uri, __version__)

    def __call__(self, *arguments: str) -> str:
        line = ["--store", self.uri, *map(str, arguments)]
        result = CliRunner().invoke(cli, line, standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return result.stdout

    def facts(self, ref: str, **options):
        store = self.open()
        try:
            return report_facts(store, store.version(ref), **options)
        finally:
            store.database.close()


def write(path: Path, samples) -> Path:
    """Alpaca JSON lines of (prompt, response)."""
    lines = [json.dumps({"instruction": p, "input": "", "output": r}) for p, r in samples]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def keep_points(store: Store, name: str, values: dict[int, float | None], means="helpful") -> None:
    """Let a pointwise method `name` have said `values` of these sids; None = not measured."""
    producer = store.producer("points", name, {"outputs": [name]}, higher_means=means)
    sids = sorted(values)
    schema = tables.points([name])
    columns = [
        pa.array(sids, pa.int64()),
        pa.array([values[sid] for sid in sids], pa.float64()),
        pa.array(np.ones(len(sids), np.int64)),
        pa.array(np.zeros(len(sids), np.bool_)),
    ]
    batch = pa.record_batch(columns, schema=schema)
    with store.claim("label", f"label:{name}", {}) as run:
        bits = BitMap(np.array(sids, np.uint32))
        run.publish([run.stage("points", [batch], schema, bits, producer_id=producer.id)])
