"""Two small stores: one whose every number is known by hand, one after the whole main job."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import browser, visit
from report_stores import HOSTILE, Kept, keep_points, write

from influence_store.report.page import page

__all__ = ["browser", "visit"]


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
