"""Two small stores: one whose every number is known by hand, one after the whole main job."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from browser import browser, visit
from click.testing import CliRunner
from pyroaring import BitMap

from influence_store.cli import cli
from influence_store.jobs.report import report_facts
from influence_store.report.page import page
from influence_store.schema import tables
from influence_store.store.store import Store
from influence_store.version import __version__

__all__ = ["browser", "visit"]

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


@pytest.fixture(scope="session")
def known(tmp_path_factory, backend) -> Kept:
    """`team`: 24 samples of two files, then 4 more less 2; `first` and `second` on the first 20.

    Prompts have 10 + k characters for sid k; responses of even sids 4, of odd sids 16.
    `first` is the sid itself, `second` its reverse but null for sid 0.
    """
    base = tmp_path_factory.mktemp("known")
    uri, database = backend.new(base / "store")
    kept = Kept(str(uri))
    kept("init", *(["--database", database] if database else []))
    samples = [(f"{k:02d}".ljust(10 + k, "?"), f"{k:02d}".ljust(4 + 12 * (k % 2), "!"))
               for k in range(28)]  # fmt: skip
    (base / "deep").mkdir()
    a = write(base / "deep" / "a.jsonl", [*samples[:16], samples[0]])
    b = write(base / "b.jsonl", samples[16:24])
    b.write_text(b.read_text() + '{"instruction": 7}\n')
    kept("ingest", a, b, "--dataset", "team", "--on-error", "skip", "--rejects", base / "r.jsonl")
    late = write(base / "late.jsonl", samples[24:])
    gone = write(base / "gone.jsonl", samples[22:24])
    kept("ingest", late, "--dataset", "team", "--removed", gone)
    kept("tag", "team@1", "before")
    store = kept.open()
    keep_points(store, "first", {sid: float(sid) for sid in range(20)})
    keep_points(store, "second", {sid: -float(sid) if sid else None for sid in range(20)}, "harder")
    store.database.close()
    return kept


@pytest.fixture(scope="session")
def whole(tmp_path_factory, backend, tiny_llm) -> Kept:
    """`pool` after the main job with a tiny LLM; its file names and texts are hostile."""
    base = tmp_path_factory.mktemp("whole")
    uri, database = backend.new(base / "store")
    kept = Kept(str(uri))
    kept("init", *(["--database", database] if database else []))
    samples = [(f"{HOSTILE[name]} {k}?", f"{k} {HOSTILE[name]}")
               for k, name in enumerate([*HOSTILE] * 8)]  # fmt: skip
    samples[5] = (samples[5][0] + " long" * 400, samples[5][1])
    one = write(base / "<b onclick=alert(1)>.jsonl", samples[:32])
    two = write(base / "two\u202e.jsonl", samples[32:])
    kept("ingest", one, two, "--dataset", "pool")
    kept("embed", "pool", "--embedder", "hashing:32")
    llm = str(tiny_llm)
    kept("label", "pool", "--model", llm, "--pairs", "700", "--max-response-tokens", "8")
    kept("train", "pool", "--network", "two-step-kernel-ridge")
    kept("fill", "pool")
    kept("label", "pool", "--method", "ifd", "--model", llm, "--rows", "all")
    kept("duplicates", "pool")
    quota = f"file:{one}=..9"
    kept("select", "pool", "--budget", "12", "--kernel", "cosine", "--quota", quota)
    return kept


@pytest.fixture(scope="session")
def whole_page(whole, tmp_path_factory) -> Path:
    """The report on it."""
    out = tmp_path_factory.mktemp("page") / "report.html"
    out.write_bytes(page(whole.facts("pool")))
    return out
