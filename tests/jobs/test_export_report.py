"""An export says what it left out and what to paste."""

from __future__ import annotations

from pathlib import Path

from influence_store.jobs.export import ExportReport


def report(left_out, usage):
    return ExportReport("s1", "axolotl", "out", 1234, left_out, "axolotl.yaml", usage)


def test_rows_left_out_are_counted_and_their_list_is_named():
    told = "\n".join(report(3, "a\n").lines())
    assert "1,234 rows of selection s1 as axolotl: out" in told
    assert "left out, for the format cannot hold them: 3;" in told
    assert str(Path("out", "left_out.jsonl")) in told


def test_where_nothing_is_left_out_nothing_is_said():
    assert not any("left out" in line for line in report(0, "a\n").lines())


def test_of_a_long_stanza_the_first_lines_are_shown():
    lines = report(0, "".join(f"line {k}\n" for k in range(20))).lines()
    assert lines[1:] == [
        f"to paste: {Path('out', 'axolotl.yaml')}", *(f"  line {k}" for k in range(6)), "  …",
    ]  # fmt: skip
    assert report(0, "one\ntwo\n").lines()[2:] == ["  one", "  two"]
