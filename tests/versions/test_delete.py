"""Deleting is a mark with a day to undo it; what stands on something holds it."""

from __future__ import annotations

import pytest
from pyroaring import BitMap
from sqlmodel import select

from influence_store.errors import Busy, NotFound, UsageError
from influence_store.jobs.choose import Asked, choose
from influence_store.jobs.delete import delete, undo, unneeded
from influence_store.jobs.invariants import broken_invariants
from influence_store.jobs.stored_selection import stored_selection
from influence_store.jobs.tag import tag
from influence_store.query import query
from influence_store.schema.catalog import Block, DatasetVersion

GRACE = 3600.0


def freed(store, *, cells=False, later=2 * GRACE):
    """(kind, dataset) of what may go, `later` seconds from now."""
    with store.database.read() as session:
        now = store.database.now(session) + later
        ids = unneeded(session, now, GRACE, cells=cells)
        return sorted(session.get(Block, id_).kind for id_ in ids)


def test_a_deleted_version_is_named_with_the_time_to_undo_it(three):
    store = three.store
    assert delete(store, "demo@3").deleted == ("demo@3",)
    assert store.version("demo").number == store.version("demo@latest").number == 2
    assert [str(one) for one in store.versions()] == ["demo@1", "demo@2"]
    assert [str(one) for one in store.heads()] == ["demo@2"]
    with pytest.raises(
        NotFound, match=r"(?s)demo@3 was deleted; it can be brought back for 24 h.*--undo demo@3"
    ):
        store.version("demo@3")
    assert undo(store, "demo@3").deleted == ("demo@3",)
    assert len(store.version("demo").bits) == 14


def test_the_next_version_is_built_on_the_newest_that_stands_and_gets_a_new_number(three):
    store = three.store
    delete(store, "demo@3")
    assert three.add(range(12)).version == 2
    report = three.add([50])
    assert (report.version, report.rows, report.kept) == (4, 13, 12)
    undo(store, "demo@3")
    assert [len(one.bits) for one in store.versions()] == [10, 12, 14, 13]
    with store.database.read() as session:
        assert list(broken_invariants(session)) == []


def test_a_whole_dataset_goes_and_comes_back(three):
    store = three.store
    three.add(range(12, 20), "other")
    delete(store, "demo")
    with pytest.raises(NotFound, match="every version of demo was deleted"):
        store.version("demo")
    assert three.add([60], embedded=False).rows == 1  # it begins anew
    assert undo(store, "demo").deleted == ("demo@1", "demo@2", "demo@3")
    with pytest.raises(NotFound, match="nothing of demo is deleted"):
        undo(store, "demo")


def test_tags_and_selections_hold_a_version_unless_forced(three):
    store = three.store
    tag(store, store.version("demo@2"), "paper")
    chosen = choose(store, "demo@2", Asked(budget="3", objective="random"), {})
    with pytest.raises(UsageError, match=rf"(?s)needed by:.*tag paper.*{chosen.id}.*--force"):
        delete(store, "demo@2")
    assert delete(store, "demo@1").left == ()
    report = delete(store, "demo@2", force=True)
    assert len(report.left) == 2
    with pytest.raises(NotFound, match="demo@2 was deleted"):
        store.version("demo@paper")


def test_a_version_is_not_deleted_while_the_next_is_being_added(three):
    with three.store.claim("ingest", "ingest:demo", {}), pytest.raises(Busy):
        delete(three.store, "demo@3")


def test_facts_stay_and_the_records_of_a_dead_dataset_go(three):
    store = three.store
    three.add(range(12, 20), "other")
    delete(store, "demo@1")
    delete(store, "demo@2")
    assert freed(store) == freed(store, cells=True) == []
    delete(store, "demo")
    assert freed(store, later=0) == []
    assert freed(store) == ["rows"] * 3
    # The contents of demo@3 came in three blocks; the third holds what `other` holds too.
    assert freed(store, cells=True) == [*["embedding"] * 2, *["rows"] * 3, *["samples"] * 2]


def test_what_gc_took_cannot_be_brought_back(three):
    store = three.store
    delete(store, "demo")

    def take(session):
        now = store.database.now(session)
        for id_ in unneeded(session, now + 2 * GRACE, GRACE):
            session.get(Block, id_).retired_at = now

    store.database.write(take)
    with pytest.raises(NotFound, match=r"demo@1 cannot be brought back: gc has taken 10 of its"):
        undo(store, "demo@1")
    assert three.add(range(14)).new_contents == 0  # facts stay


def test_a_deleted_selection_is_seen_by_nobody_and_comes_back_whole(three):
    store = three.store
    asked = Asked(budget="4", objective="facility-location", kernel="cosine")
    made = choose(store, "demo", asked, {})
    before = stored_selection(store, made.id)
    items = query(store, "select * from selection_items")
    delete(store, made.id[:6])
    assert query(store, "select * from selections").num_rows == 0
    assert query(store, "select * from selection_items").num_rows == 0
    with pytest.raises(NotFound):
        stored_selection(store, made.id)
    undo(store, made.id[:6])
    assert query(store, "select * from selection_items").equals(items)
    assert stored_selection(store, made.id).row.facts == before.row.facts
    with pytest.raises(UsageError, match="stands"):
        undo(store, made.id)


def test_the_same_question_after_a_deletion_is_answered_anew(three):
    store = three.store
    asked = Asked(budget="4", objective="facility-location", kernel="cosine")
    made = choose(store, "demo", asked, {})
    delete(store, made.id)
    again = choose(store, "demo", asked, {})
    assert (again.id, again.reused) == (made.id, False)
    with store.database.read() as session:
        assert list(broken_invariants(session)) == []


def test_a_selection_that_another_started_from_is_held(three):
    store = three.store
    asked = Asked(budget="3", objective="facility-location", kernel="cosine")
    first = choose(store, "demo", asked, {})
    choose(store, "demo", Asked(**{**vars(asked), "budget": "5", "start": first.id}), {})
    with pytest.raises(UsageError, match="which started from it"):
        delete(store, first.id)
    assert len(delete(store, first.id, force=True).left) == 1


def test_a_deleted_version_keeps_its_rows_in_the_catalog(three):
    store = three.store
    delete(store, "demo@1")
    with store.database.read() as session:
        row = session.exec(select(DatasetVersion).where(DatasetVersion.number == 1)).one()
    assert len(BitMap.deserialize(row.bits)) == row.n_rows == 10


def test_what_is_unknown_is_told_with_what_is_known(three):
    with pytest.raises(NotFound, match="no selection or dataset named 'demi'; did you mean demo"):
        delete(three.store, "demi")
