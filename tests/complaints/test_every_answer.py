"""ANSWERS.md says the truth: every complaint has a test, and every test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
TABLE = (HERE / "ANSWERS.md").read_text("utf-8")
ROWS = dict(re.findall(r"^\| (\d+) \|(.*)\|$", TABLE, re.MULTILINE))
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def test_every_complaint_is_answered():
    assert [int(row) for row in ROWS] == [*range(1, 17), *range(40, 49)]
    assert all(NAMED.search(told) for told in ROWS.values())


def test_every_test_that_is_named_exists():
    for file, test in NAMED.findall(TABLE):
        assert f"def {test}(" in (HERE.parent / file).read_text("utf-8"), (file, test)
