"""docs/errors.md lists every error class, and failures show their codes as it says."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from influence_store import errors
from influence_store.errors import InfluenceStoreError

PAGE = (Path(__file__).parents[1] / "docs" / "errors.md").read_text()
ROWS = re.findall(r"^\| \[(IS\d+)\]\(#is\d+\) \| `(\w+)` \| (\d) \| (.+) \|$", PAGE, re.MULTILINE)
CLASSES = [
    one for _, one in inspect.getmembers(errors, inspect.isclass)
    if issubclass(one, InfluenceStoreError)
]  # fmt: skip


def shell(*arguments, cwd):
    command = [sys.executable, "-m", "influence_store.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_the_page_has_one_row_for_each_class_with_what_the_class_says():
    told = {name: (code, int(exit_code), means) for code, name, exit_code, means in ROWS}
    means = {one.__name__: inspect.getdoc(one).partition("\n\n")[0] for one in CLASSES}
    means["InfluenceStoreError"] = "a bug of ours"
    assert told == {one.__name__: (one.code, one.exit_code, means[one.__name__]) for one in CLASSES}
    assert len(ROWS) == len(CLASSES)


def test_every_code_has_a_section_with_cause_and_next_step():
    sections = dict(re.findall(r"^## (IS\d+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
    assert list(sections) == [code for code, *_ in ROWS]
    for code, text in sections.items():
        assert "*Usual cause:*" in text, code
        assert "*Next:*" in text, code


def test_codes_are_unique_and_begin_with_the_exit_code():
    assert len({one.code for one in CLASSES}) == len(CLASSES)
    for one in CLASSES:
        assert re.fullmatch(rf"IS{one.exit_code}\d\d", one.code), one


def test_every_subclass_elsewhere_keeps_the_code_of_its_class():
    """A code that is not on the page would be one that nobody can look up."""
    from influence_store.embedding.vectors import UnusableVector
    from influence_store.ingest.rows import Rejected

    assert (UnusableVector.code, Rejected.code) == ("IS300", "IS301")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (["status"], 4, "IS401"),
        (["nonsense"], 2, "IS200"),
        (["status", "--nonsense"], 2, "IS200"),
        (["--store", "s3://key:secret@bucket/x", "status"], 2, "IS200"),
    ],
)
def test_a_failure_shows_its_code_and_with_json_is_a_document(tmp_path, arguments, exit_code, code):
    done = shell(*arguments, cwd=tmp_path)
    assert done.returncode == exit_code
    assert f"error[{code}]: " in done.stderr
    done = shell(*arguments, "--json", cwd=tmp_path)
    assert done.stdout == ""
    told = json.loads(done.stderr.splitlines()[-1])["error"]
    assert (told["code"], told["exit_code"]) == (code, exit_code)
    assert told["message"] in done.stderr.split("{")[0]
    assert "secret" not in done.stderr


def test_a_message_that_steers_is_harmless_in_both_forms(tmp_path):
    assert shell("init", cwd=tmp_path).returncode == 0
    done = shell("fill", "\x1b[2J\u202e", "--json", cwd=tmp_path)
    assert not set(done.stderr) & {"\x1b", "\u202e"}
    told = json.loads(done.stderr.splitlines()[-1])["error"]
    assert told["code"] == "IS400"
    assert "hint" in told
