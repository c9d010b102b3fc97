from __future__ import annotations

import inspect

import pytest

from influence_store import errors
from influence_store.errors import InfluenceStoreError, MissingExtra, NotFound, UsageError
from influence_store.extras import require
from influence_store.registry import Entry, Registry


def test_the_tree_in_the_docstring_is_the_tree():
    for name, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, InfluenceStoreError):
            line = next(line for line in errors.__doc__.splitlines() if name in line)
            told = [int(word) for word in line.replace("exit", " ").split() if word.isdigit()]
            assert told in ([], [kind.exit_code])


def test_not_found_names_the_nearest():
    told = str(NotFound.named("dataset", "suport", ["support", "sales"], hint="see: status"))
    assert told == "no dataset named 'suport'; did you mean support?\n  see: status"
    far = str(NotFound.named("column", "nope", ["line", "(none)"]))
    assert far == "no column named 'nope'; known: (none), line"
    assert "there is no dataset yet" in str(NotFound.named("dataset", "x", []))


def test_a_missing_extra_comes_with_its_install_line():
    with pytest.raises(MissingExtra, match=r"pip install 'influence-store\[train\]'"):
        require("no_such_module_anywhere", extra="train")


def test_an_import_error_inside_an_extra_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "half_broken.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency") as caught:
        require("half_broken", extra="train")
    assert not isinstance(caught.value, MissingExtra)


def test_registry_refuses_a_name_taken_twice(monkeypatch):
    class Point:
        name, value, dist = "cosine", "theirs:thing", None

    monkeypatch.setattr("influence_store.registry.entry_points", lambda group: [Point()])
    registry = Registry("kernel", "influence_store.kernels", {"cosine": Entry("ours:thing", "")})
    with pytest.raises(UsageError, match="two packages offer the kernel 'cosine'"):
        registry.entries()
