"""docs/scale.md says what was measured: its tables are those that the cost model makes."""

from __future__ import annotations

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_every_table_of_the_page_is_made_from_the_measurements(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import cost_model

    page = cost_model.PAGE.read_text()
    assert cost_model.written(page) == page
    assert page.count("| ingest |") >= 2


def test_a_line_is_found_through_what_lies_on_one(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import cost_model

    measured = {n: {"ingest": {"cpu": 2 + 0.001 * n}} for n in (1_000, 10_000, 1_000_000)}
    constant, slope = cost_model.fit(measured, "ingest")
    assert abs(constant - 2) < 1e-6
    assert abs(slope - 0.001) < 1e-9
    del measured[1_000]
    assert cost_model.fit(measured, "ingest") is None
