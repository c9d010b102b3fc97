"""Any changed, missing or extra byte of committed data is found (P6), and named by its file."""

from __future__ import annotations

from damage import HOW, excused, fill, finders, sweep

CHANGES = 100


def test_every_damage_is_found(scene):
    fill(scene)
    with scene.place.opened() as store:
        found = sweep(scene.place, CHANGES, 0, finders(store))
    assert found.done.total() == CHANGES
    assert set(found.done) == set(HOW)
    for finder, missed in found.missed.items():
        assert [one for one in missed if not excused(finder, one)] == [], finder
