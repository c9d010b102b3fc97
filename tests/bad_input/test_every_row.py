"""ROWS.md says the truth: every row is there, and so is every test it names."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
TABLE = (HERE / "ROWS.md").read_text("utf-8")
ROWS = dict(re.findall(r"^\| (\d+) \|(.*)\|$", TABLE, re.MULTILINE))


def test_all_60_rows_are_told():
    assert [int(row) for row in ROWS] == list(range(1, 61))


def test_every_test_that_is_named_exists():
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", TABLE)
    assert len(named) > 60
    for file, test in named:
        assert f"def {test}(" in (HERE / file).read_text("utf-8"), (file, test)
    for file in re.findall(r"`(tests/[\w/]+\.py)`", TABLE):
        assert (HERE.parents[1] / file).is_file(), file


def test_a_row_has_a_test_or_says_why_not():
    for row, told in ROWS.items():
        reason = re.search(r"not here: |cannot be said: |there is none: |as \d+", told)
        assert reason or "test_" in told, row
