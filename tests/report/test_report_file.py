"""The file: written whole or not at all, and never over what is no report."""

from __future__ import annotations

import os

import pytest

from influence_store.errors import StorageError, UsageError
from influence_store.report.publish import MARK, check_free, publish


def test_a_report_replaces_a_report(tmp_path):
    out = tmp_path / "new" / "report.html"
    publish(MARK + b"one", out)
    check_free(out, overwrite=False)
    publish(MARK + b"two", out)
    assert out.read_bytes() == MARK + b"two"
    assert os.listdir(out.parent) == ["report.html"]


def test_what_is_no_report_is_only_overwritten_when_told(tmp_path):
    out = tmp_path / "thesis.html"
    out.write_text("<!doctype html>\n<p>years of work")
    with pytest.raises(UsageError, match="not a report; it is not overwritten") as told:
        check_free(out, overwrite=False)
    assert "--overwrite" in told.value.hint
    check_free(out, overwrite=True)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(UsageError, match=r"is a folder.*\n.*report\.html"):
        check_free(tmp_path, overwrite=True)


def test_a_disk_that_fails_leaves_nothing_behind(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        publish(MARK, blocked / "report.html")
    folder = tmp_path / "taken"
    (folder / "report.html").mkdir(parents=True)
    with pytest.raises(StorageError):
        publish(MARK, folder / "report.html")
    assert os.listdir(folder) == ["report.html"]


def test_a_new_file_has_the_rights_that_new_files_have(tmp_path):
    publish(MARK, tmp_path / "report.html")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "report.html").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_verb_refuses_before_it_reads_anything(known, tmp_path):
    out = tmp_path / "notes.txt"
    out.write_text("mine")
    with pytest.raises(UsageError, match="not overwritten"):
        known("report", "team", "-o", out)
    assert out.read_text() == "mine"


def test_the_verb_says_where_the_page_is_and_what_would_fill_it(known, tmp_path):
    told = known("report", "team", "-o", tmp_path / "report.html")
    assert told.startswith(f"report on team@2: {tmp_path / 'report.html'} (")
    assert "influence-store embed team@2 --embedder EMBEDDER" in told
    assert (tmp_path / "report.html").read_bytes().startswith(MARK)
