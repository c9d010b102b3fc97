"""docs/exports.md shows what `export` really writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from export_samples import ALL, PLAIN, exported, manifest_of

from influence_store.cli import cli
from influence_store.exporters import EXPORTERS

PAGE = (Path(__file__).parents[2] / "docs" / "exports.md").read_text()


def commented(text):
    """Without comment lines and blank lines."""
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("form", sorted(EXPORTERS.builtin))
def test_every_format_has_a_row_and_a_command(tmp_path, form):
    paste = manifest_of(exported(tmp_path / "out", form, [PLAIN]))["usage_file"]
    assert re.search(rf"^\| `{form}` \|.*\| `{re.escape(paste)}` \|", PAGE, re.MULTILINE)
    assert f"--to {form}" in PAGE


@pytest.mark.parametrize("form", sorted(set(EXPORTERS.builtin) - {"trl-messages"}))
def test_the_stanzas_are_those_that_are_written(tmp_path, form):
    usage = manifest_of(exported(tmp_path / "out", form, ALL))["usage"]
    blocks = re.findall(r"```(?:python|yaml)\n(.*?)```", PAGE, re.DOTALL)
    assert commented(usage) in [commented(block) for block in blocks]


def test_every_command_is_one_that_export_takes():
    lines = re.findall(r"^influence-store .*$", PAGE, re.MULTILINE)
    formats = [
        re.fullmatch(r"influence-store export SELECTION --to (\S+) -o out/", line)[1]
        for line in lines
    ]
    assert set(formats) <= {*EXPORTERS.builtin, "FORMAT"}


def test_help_names_every_format():
    told = set(re.findall(r"[\w-]+", cli.commands["export"].help.partition("Formats:")[2]))
    assert told >= set(EXPORTERS.builtin)
