"""A tag is a name that stays where it is, until somebody says otherwise."""

from __future__ import annotations

import pytest

from influence_store.errors import NotFound, UsageError
from influence_store.jobs.tag import check_tag_name, remove_tag, tag


def test_a_tag_names_its_version_whatever_comes_later(three):
    store = three.store
    tag(store, store.version("demo@1"), "v1.0")
    three.add(range(30), embedded=False)
    assert store.version("demo@v1.0").number == 1


def test_a_tag_moves_only_when_told(three):
    store = three.store
    tag(store, store.version("demo@1"), "best")
    assert tag(store, store.version("demo@1"), "best").before == 1
    with pytest.raises(UsageError, match=r"demo@best is demo@1 already\n.*demo@2 best --move"):
        tag(store, store.version("demo@2"), "best")
    assert store.version("demo@best").number == 1
    assert tag(store, store.version("demo@2"), "best", move=True).before == 1
    assert store.version("demo@best").number == 2


def test_a_removed_tag_is_free_again(three):
    store = three.store
    tag(store, store.version("demo@1"), "best")
    assert remove_tag(store, "demo", "best").before == 1
    with pytest.raises(NotFound, match="no tag of demo named 'best'"):
        store.version("demo@best")
    with pytest.raises(NotFound, match="no tag of demo named 'best'"):
        remove_tag(store, "demo", "best")
    assert tag(store, store.version("demo@2"), "best").before is None


@pytest.mark.parametrize("name", ["latest", "7", "", "-x", "a b", "a@b", "ü", "a" * 65, "a\n", "٣"])
def test_names_that_cannot_be_typed_or_mean_something_else_are_refused(name):
    with pytest.raises(UsageError):
        check_tag_name(name)
