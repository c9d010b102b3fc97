"""Texts that would steer a terminal, forge a line or run in a spreadsheet: row 60."""

from __future__ import annotations

import csv
import io
import json
import logging

import polars as pl
import pytest
from good_store import HOSTILE, STEERING

from influence_store.exporters.jsonl import DATA
from influence_store.output import LogFormatter, emit, emit_table, message, plain, table_lines

FORMS = ("table", "csv", "json", "ndjson")


@pytest.mark.parametrize("form", FORMS)
def test_no_text_form_of_a_query_steers_or_forges(trial, form):
    said = trial("query", "select prompt, response from hostile order by line", "--format", form)
    assert said.code == 0
    harmless = said.out.replace("\r\n", "") if form == "csv" else said.out  # quoted, in a cell
    assert not STEERING.search(harmless), repr(said.out)
    assert "owned" in said.out


@pytest.mark.parametrize("form", ["json", "ndjson", "parquet"])
def test_the_forms_for_programs_are_exact(trial, form, capfdbinary):
    asked = "select prompt from hostile order by line"
    if form == "parquet":
        pytest.importorskip("pyarrow")
        table = pl.DataFrame({"prompt": HOSTILE}).to_arrow()
        emit_table(table, form)
        found = pl.read_parquet(io.BytesIO(capfdbinary.readouterr().out))["prompt"].to_list()
    else:
        told = trial("query", asked, "--format", form).out
        rows = json.loads(told) if form == "json" else map(json.loads, told.split("\n")[:-1])
        found = [row["prompt"] for row in rows]
    assert found == list(HOSTILE)


def test_no_cell_of_a_csv_is_a_formula_and_no_number_is_changed(trial):
    asked = "select prompt, -1.5 as n, [line] as l from hostile order by line"
    rows = list(csv.reader(io.StringIO(trial("query", asked, "--format", "csv").out)))
    assert rows[0] == ["prompt", "n", "l"]
    for (cell, number, _), text in zip(rows[1:], HOSTILE, strict=True):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")), cell
        assert number == "-1.5"
        if text.isprintable():
            assert cell == ("'" + text if text[0] in "=+-@" else text)
    assert rows[6][0] == HOSTILE[5]  # line breaks stand in a quoted cell


def test_names_of_columns_are_texts_too(trial):
    asked = 'select 1 as "=1\x1b[31m", 2 as "b\nc"'
    for form in FORMS:
        said = trial("query", asked, "--format", form)
        assert not STEERING.search(said.out), repr(said.out)
        assert len(said.out.splitlines()) <= 3


@pytest.mark.parametrize("verb", ["top", "explain", "status", "log", "select", "methods"])
def test_no_report_steers_or_forges_a_line(trial, verb):
    ids = "select sample_id from hostile order by line"
    hostile = [row["sample_id"] for row in trial("query", ids, "--format", "json").json()]
    chosen = trial("select", "hostile", "--budget", "4", "--json").json()["id"]
    command = {
        "top": ("top", "hostile", hostile[0]),
        "explain": ("explain", chosen, *hostile),
        "select": ("select", "hostile", "--budget", "3"),
    }.get(verb, (verb,))
    for more in ((), ("--json",)):
        said = trial(*command, *more)
        assert said.code == 0, said
        assert not STEERING.search(said.out + said.err), repr(said.out + said.err)
        assert not [line for line in said.out.splitlines() if line.startswith("influence-store:")]


def test_what_is_exported_is_exact(trial):
    chosen = trial("select", "hostile", "--budget", "100%", "--json").json()["id"]
    assert trial("export", chosen, "-o", trial.folder / "out").code == 0
    data = (trial.folder / "out" / DATA).read_bytes()
    texts = {json.loads(line)["output"] for line in data.split(b"\n")[:-1]}
    assert texts == set(HOSTILE)


@pytest.mark.parametrize("text", HOSTILE)
def test_plain_is_one_line_that_only_shows(text):
    assert plain(text).isprintable()
    assert all(line.isprintable() for line in message(f"{text}\n{text}").split("\n"))
    (*_, row) = table_lines(["a"], [(text,)])
    assert row.isprintable()


def test_lines_of_a_report_and_of_the_log_stay_one_line_each(capsys):
    emit({}, ["a\nforged", "b"], as_json=False)
    assert capsys.readouterr().out == "a\\nforged\nb\n"
    record = logging.LogRecord("x", logging.WARNING, "f", 1, "to %s", ("\x1b[2J",), None)
    assert LogFormatter().format(record) == "WARNING: to \\x1b[2J"


@pytest.mark.parametrize(
    "character", ["\x7f", "\x9b", "\u200f", "\u2028", "\u202e", "\u2066", "\ufeff"]
)
def test_what_json_leaves_as_it_is_becomes_an_escape(character, capsys):
    emit({"a": f"x{character}"}, [], as_json=True)
    told = capsys.readouterr().out
    assert character not in told
    assert json.loads(told) == {"a": f"x{character}"}


def test_a_cell_with_a_lone_return_is_escaped_and_others_are_left(capsys):
    table = pl.DataFrame({"a": ["é\rü", "ok\r\nb"], "b": ["é", None]}).to_arrow()
    emit_table(table, "csv")
    assert capsys.readouterr().out == 'a,b\né\\rü,é\n"ok\r\nb",\n'
