"""`plugins` lists every name of every registry with its package, and tells what does not load."""

from __future__ import annotations

import importlib
import json
import sys

import pytest
from click.testing import CliRunner

from influence_store.cli import cli
from influence_store.errors import Incompatible, NotFound, UsageError
from influence_store.jobs.plugins import REGISTRIES, check_plugin, list_plugins
from influence_store.settings import cache_dir

METHOD = """
import numpy as np
from influence_store.protocols import InfluenceSpec, Ledger, PointValues

class Words:
    spec = InfluenceSpec("words", ("words",), "harder", "none", "pointwise", needs=())

    def __init__(self):
        self.ledger = Ledger()
        self.facts = {"method": "words", "version": 1}

    def score(self, samples):
        n = np.array([len(one.response.split()) for one in samples], np.int64)
        values = np.where(n > 0, n, np.nan).astype(np.float64)
        return PointValues({"words": values}, n, np.zeros(len(n), np.bool_))

class Backwards(Words):
    def score(self, samples):
        return super().score(samples[::-1])

class Fails(Words):
    def score(self, samples):
        raise KeyError("nothing here")

class Unsaid:
    pass
"""
EMBEDDER = """
import numpy as np
from influence_store.protocols import Encoded

class Letters:
    name, dim = "letters", 27
    facts = {"engine": "letters", "version": 1, "template": "prompt"}

    def encode(self, texts):
        counts = np.array([[1 + text.count(c) for c in "abcdefghijklmnopqrstuvwxyz "]
                           for text in texts], np.float32).reshape(len(texts), 27)
        lengths = np.linalg.norm(counts, axis=1, keepdims=True)
        return Encoded((counts / lengths).astype(np.float32), np.zeros(len(texts), np.bool_))

class Long(Letters):
    def encode(self, texts):
        found = super().encode(texts)
        return Encoded(2 * found.vectors, found.truncated)

class Crowd(Letters):
    def encode(self, texts):
        found = super().encode(texts)
        mixed = found.vectors + found.vectors.sum(axis=0)
        lengths = np.linalg.norm(mixed, axis=1, keepdims=True)
        return Encoded((mixed / lengths).astype(np.float32), found.truncated)

def open_letters(location, options):
    return {"": Letters, "long": Long, "crowd": Crowd}[location]()
"""
POINTS = """
[influence_store.influence]
words = theirs_method:Words
backwards = theirs_method:Backwards
fails = theirs_method:Fails
unsaid = theirs_method:Unsaid
broken = theirs_broken:Nothing
absent = theirs_absent:Nothing
delift = theirs_method:Words

[influence_store.embedders]
letters = theirs_embedder:open_letters
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """What pip leaves behind of a package with good, broken and clashing plugins."""
    (tmp_path / "theirs_method.py").write_text(METHOD)
    (tmp_path / "theirs_embedder.py").write_text(EMBEDDER)
    (tmp_path / "theirs_broken.py").write_text("raise SystemExit('\x1b[2Jtheir own trouble')\n")
    metadata = tmp_path / "theirs-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()

    def offer(points=POINTS):
        (metadata / "entry_points.txt").write_text(points)

    yield offer
    for name in ("theirs_method", "theirs_embedder", "theirs_broken"):
        sys.modules.pop(name, None)


def by_name(report):
    return {(row["group"].rpartition(".")[2], row["name"]): row for row in report.rows}


def test_every_built_in_name_is_listed_and_loads_or_says_what_to_install():
    rows = by_name(list_plugins())
    expected = {(one.group.rpartition(".")[2], name) for one in REGISTRIES for name in one.builtin}
    assert set(rows) >= expected
    for key in expected:
        assert rows[key]["built_in"] is True
        assert rows[key]["problem"] == "" or "pip install" in rows[key]["problem"]


def test_a_package_is_named_with_its_version_and_what_does_not_load_is_told(installed):
    installed()
    rows = by_name(list_plugins())
    words = rows["influence", "words"]
    assert (words["package"], words["version"], words["problem"]) == ("theirs", "1.2", "")
    assert "their own trouble" in rows["influence", "broken"]["problem"]
    assert "theirs_absent" in rows["influence", "absent"]["problem"]
    twice = [row for row in list_plugins().rows if row["name"] == "delift"]
    assert [row["built_in"] for row in twice] == [True, False]
    assert "taken by influence_store.influence.delift:Delift" in twice[1]["problem"]


def test_the_verb_ends_with_0_whatever_does_not_load_and_nothing_steers(installed):
    installed()
    done = CliRunner().invoke(cli, ["plugins"], standalone_mode=False)
    assert done.exception is None
    assert "words  theirs 1.2, theirs_method:Words: loads" in done.stdout
    assert "broken  theirs 1.2, theirs_broken:Nothing: does not load" in done.stdout
    assert "3 of them do not load" in done.stdout
    assert "\x1b" not in done.stdout
    done = CliRunner().invoke(cli, ["plugins", "--json"], standalone_mode=False)
    assert len(json.loads(done.stdout)["plugins"]) == len(list_plugins().rows)


def test_a_check_passes_what_conforms_and_names_the_law_that_is_broken(installed):
    installed(POINTS.replace("delift = theirs_method:Words", ""))
    for spec in ("words", "letters", "hashing:32"):
        told = check_plugin(spec, cache_dir()).lines()
        assert told[0].endswith(f"{spec} keeps every law that is checked")
    for spec, law in (
        ("backwards", "order does not matter"),
        ("unsaid", "spec is complete"),
        ("fails", "KeyError: 'nothing here'"),
        ("broken", "does not load: SystemExit"),
        ("letters:long", "vectors have length one"),
        ("letters:crowd", "batch size does not matter"),
    ):
        with pytest.raises(Incompatible, match=law):
            check_plugin(spec, cache_dir())


def test_what_cannot_be_checked_says_what_would(installed):
    with pytest.raises(UsageError, match=r"(?s)built from llm.*check_method\(lambda: Ifd"):
        check_plugin("ifd", cache_dir())
    with pytest.raises(UsageError, match="is a set function"):
        check_plugin("flqmi", cache_dir())
    with pytest.raises(NotFound, match="did you mean hashing"):
        check_plugin("hashin", cache_dir())
