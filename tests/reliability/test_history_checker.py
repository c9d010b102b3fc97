"""The judge itself: a faithful history passes, and every kind of broken promise is named."""

from __future__ import annotations

import json

import pytest
from history import Journal, check, content_of, digest, read_journals, text_of

COMMON = [1, 2, 3]


def event(what, at, by="w", **facts):
    return {"what": what, "at": float(at), "by": by, "dataset": "demo", **facts}


def begin(at, op, stamp, *, drops=()):
    return event("begin", at, op=op, adds=[stamp, *COMMON], drops=list(drops), stamp=stamp)


def ack(at, op, version, *, changed=True):
    return event("ack", at, op=op, version=version, changed=changed)


def read(at, version, contents, by="r", began=None):
    began = at - 0.1 if began is None else began
    facts = {"rows": len(contents), "digest": digest(contents), "began": began}
    return event("read", at, by=by, version=version, **facts)


def version(number, contents, vectors=0):
    return event("version", 100, version=number, contents=list(contents), vectors=vectors)


def audit(*versions):
    return [*versions, event("audited", 101)]


ONE, TWO = [10, *COMMON], [10, 20, *COMMON]
#: Two operations, one killed and repeated, a no-op, reads before, between and after.
FAITHFUL = [
    begin(1, "a", 10),
    begin(2, "a", 10),
    ack(3, "a", 1),
    read(4, 1, ONE),
    begin(5, "b", 20),
    read(6, 1, ONE, by="other"),
    ack(7, "b", 2),
    begin(7.5, "a", 10),
    ack(7.6, "a", 2, changed=False),
    read(8, 2, TWO),
    *audit(version(1, ONE), version(2, TWO)),
]


def rules(events):
    return {violation.rule for violation in check(sorted(events, key=lambda one: one["at"]))}


def without(what, op):
    return [one for one in FAITHFUL if not (one["what"] == what and one.get("op") == op)]


def with_versions(*versions):
    kept = [one for one in FAITHFUL if one["what"] not in ("version", "audited")]
    return [*kept, *audit(*versions)]


def test_a_faithful_history_passes():
    assert check(FAITHFUL) == []


def test_what_was_never_acknowledged_may_have_happened_or_not():
    assert rules(without("ack", "b")) == set()
    not_at_all = [one for one in FAITHFUL if one["at"] < 7.7 and one.get("op") != "b"]
    not_at_all = [one for one in not_at_all if one.get("changed") is not False]
    assert rules([*not_at_all, *audit(version(1, ONE))]) == set()


def test_a_lost_ack_is_found():
    assert "lost ack" in rules(with_versions(version(1, ONE)))


def test_an_ack_that_names_another_version_is_found():
    assert rules([*without("ack", "a"), ack(3, "a", 2)]) >= {"lost ack"}


def test_a_version_that_was_committed_in_part_is_found():
    assert "torn version" in rules(with_versions(version(1, ONE), version(2, TWO[:-1])))


def test_rows_that_nobody_brought_are_found():
    assert "torn version" in rules(with_versions(version(1, ONE), version(2, [*TWO, 77])))


def test_a_changed_text_is_found():
    assert "torn version" in rules(with_versions(version(1, ONE), version(2, [*TWO[:-1], -1])))


def test_a_doubled_row_is_found():
    assert "doubled row" in rules(with_versions(version(1, ONE), version(2, [*TWO, 1])))


def test_a_doubled_effect_is_found():
    again = with_versions(version(1, ONE), version(2, TWO), version(3, TWO))
    assert "no single cause" in rules(again)
    assert "doubled effect" in rules([*FAITHFUL, ack(9, "b", 2)])


def test_an_effect_that_came_goes_and_comes_again_is_found():
    gone = with_versions(version(1, ONE), version(2, [20, *COMMON]), version(3, TWO))
    assert rules(gone) >= {"torn version"}


def test_a_hole_in_the_numbers_is_found():
    assert "hole" in rules(with_versions(version(1, ONE), version(3, TWO)))


def test_a_torn_read_is_found():
    assert rules([*FAITHFUL, read(9, 2, TWO[:-1])]) == {"torn read"}


def test_a_read_of_the_right_number_of_wrong_rows_is_found():
    assert rules([*FAITHFUL, read(9, 2, [10, 20, 1, 2, 4])]) == {"torn read"}


def test_a_read_of_a_version_that_nobody_committed_is_found():
    assert rules([*FAITHFUL, read(9, 3, TWO)]) == {"read of nothing"}


def test_a_backward_read_is_found():
    slow = [read(6.1, 2, TWO, by="x", began=5.5), read(6.9, 1, ONE, by="x", began=6.2)]
    assert rules([*FAITHFUL, *slow]) == {"backward read"}


def test_a_read_that_misses_what_another_process_was_told_is_found():
    assert rules([*FAITHFUL, read(9, 1, ONE, by="late")]) == {"stale read"}


def test_a_read_of_the_future_is_found():
    early = [*FAITHFUL, read(4.5, 2, TWO, by="seer")]
    assert "read of the future" in rules(early)


@pytest.mark.parametrize(("error", "told"), [("Busy", set()), ("KeyError", {"unexpected error"})])
def test_only_busy_and_fenced_are_expected_errors(error, told):
    failed = event("fail", 5.5, op="b", error=error, told="")
    assert rules([*FAITHFUL, failed]) == told


def test_two_values_for_one_fact_are_found():
    cells = event("cells", 100, of="samples", found=6, distinct=5, wrong=0)
    assert rules([*FAITHFUL, cells]) == {"doubled cell"}


def test_a_wrong_value_is_found():
    cells = event("cells", 100, of="embedding", found=5, distinct=5, wrong=1)
    assert rules([*FAITHFUL, cells]) == {"wrong cell"}


def test_a_lost_vector_is_found():
    embedded = event("embedded", 9, version=2, computed=5)
    assert rules([*FAITHFUL, embedded]) == {"lost cell"}
    whole = with_versions(version(1, ONE), version(2, TWO, vectors=5))
    assert rules([*whole, embedded]) == set()


def test_a_lost_or_changed_artifact_is_found():
    kept = event("kept", 9, sha256="aa")
    assert rules([*FAITHFUL, kept]) == {"lost artifact"}
    assert rules([*FAITHFUL, kept, event("artifact", 100, sha256="aa", found="aa")]) == set()
    changed = event("artifact", 100, sha256="aa", found="bb")
    assert rules([*FAITHFUL, kept, changed]) == {"lost artifact"}


def test_the_last_audit_decides():
    first = [version(1, ONE), event("audited", 50)]
    events = [*(one for one in FAITHFUL if one["at"] < 4), {**first[0], "at": 49.0}, first[1]]
    later = [event("embedded", 60, version=1, computed=4), *audit(version(1, ONE, vectors=4))]
    assert rules([*events, *later]) == set()


def test_a_history_without_an_audit_proves_nothing():
    assert "no audit" in rules([one for one in FAITHFUL if one["what"] != "audited"])


def test_rows_that_were_dropped_must_be_gone():
    dropping = [begin(1, "a", 10), ack(2, "a", 1), begin(3, "b", 20, drops=[10]), ack(4, "b", 2)]
    gone = audit(version(1, ONE), version(2, [20, *COMMON]))
    assert rules([*dropping, *gone]) == set()
    assert "torn version" in rules([*dropping, *audit(version(1, ONE), version(2, TWO))])


def test_a_journal_survives_a_kill_inside_a_line(tmp_path):
    journal = Journal(tmp_path, "w")
    journal.begin("a", "demo", [10], stamp=10)
    journal.close()
    with (tmp_path / "w.jsonl").open("a") as stream:
        stream.write('{"what": "ack", "op": ')
    successor = Journal(tmp_path, "w")
    successor.ack("a", 1, changed=True)
    successor.close()
    assert [one["what"] for one in read_journals(tmp_path)] == ["begin", "ack"]


def test_a_content_is_known_by_its_text_alone():
    assert content_of(*text_of(12)) == 12
    prompt, response = text_of(12)
    assert content_of(prompt, response + " ") == -1
    assert content_of(prompt, text_of(13)[1]) == -1
    assert json.dumps(text_of(12)) != json.dumps(text_of(19))
