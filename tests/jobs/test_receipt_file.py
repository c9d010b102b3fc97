"""What a receipt holds, and that every difference between two is named."""

from __future__ import annotations

import copy

import pytest

from influence_store.errors import InputError
from influence_store.jobs.receipt import (
    digest,
    first_difference,
    from_file,
    ids_digest,
    sealed,
    to_bytes,
)

CONTENT = {
    "selection": "0123456789ab",
    "data": {"pool": {"dataset": "demo@1", "rows": 3, "digest": ids_digest([b"b", b"a", b"c"])}},
    "kernel": {"name": "cosine", "fingerprint": "f0", "facts": {"dim": 32}},
    "function": {"function": "facility-location", "floor": -0.25},
    "question": {"budget": 2, "seed": 0, "objective": "facility-location"},
    "allowed": {"barred": {"leak": 3}, "tokens": None},
    "samples": ["aa", "bb"],
    "gains": [0.1 + 0.2, None],
}

TAMPERED = [
    ("data.pool.dataset", "demo@2", "data.pool.dataset: expected demo@2, found demo@1"),
    ("data.pool.digest", "00", "data.pool.digest: expected 00"),
    ("kernel.fingerprint", "f1", "kernel.fingerprint: expected f1, found f0"),
    ("kernel.facts.dim", 33, "kernel.facts.dim: expected 33, found 32"),
    ("function.floor", 0.0, "function.floor: expected 0.0, found -0.25"),
    ("question.seed", 1, "question.seed: expected 1, found 0"),
    ("question.budget", None, "question.budget: expected None, found 2"),
    ("allowed.barred.leak", 2, "allowed.barred.leak: expected 2, found 3"),
    ("samples", ["aa", "cc"], "rank 2: expected sample cc, found bb"),
    ("samples", ["bb", "aa"], "rank 1: expected sample bb, found aa"),
    ("gains", [0.3, None], "rank 1, sample aa: expected gain 0.3, found 0.30000000000000004"),
    ("gains", [0.1 + 0.2, 0.0], "rank 2, sample bb: expected gain 0.0, found None"),
]


def changed(receipt, path, value):
    other = copy.deepcopy(receipt)
    *parents, last = path.split(".")
    place = other
    for name in parents:
        place = place[name]
    place[last] = value
    return other


def test_a_receipt_survives_the_file_to_the_last_bit(tmp_path):
    receipt = sealed(CONTENT)
    file = tmp_path / "selection.lock"
    file.write_bytes(to_bytes(receipt))
    assert from_file(file) == receipt
    assert to_bytes(from_file(file)) == file.read_bytes()
    assert first_difference(receipt, from_file(file)) is None
    assert receipt["digest"] == digest(receipt)


@pytest.mark.parametrize(("path", "value", "says"), TAMPERED)
def test_each_changed_field_is_named_and_breaks_the_digest(path, value, says):
    receipt = sealed(CONTENT)
    other = changed(receipt, path, value)
    told = first_difference(other, receipt)
    assert told is not None
    assert told.startswith(says)
    assert digest(other) != receipt["digest"]


def test_the_first_of_several_differences_is_what_decides_the_others():
    receipt = sealed(CONTENT)
    other = changed(changed(receipt, "samples", ["cc", "aa"]), "kernel.fingerprint", "f1")
    assert first_difference(other, receipt).startswith("kernel.fingerprint")


def test_a_longer_order_differs_where_the_shorter_one_ends():
    receipt = sealed(CONTENT)
    longer = {**receipt, "samples": ["aa", "bb", "cc"], "gains": [0.1 + 0.2, None, None]}
    assert first_difference(longer, receipt) == "expected 3 samples, found 2"


def test_versions_change_the_digest_but_are_no_difference():
    receipt = sealed(CONTENT)
    other = changed(receipt, "made_with.numpy", "0.0")
    assert first_difference(other, receipt) is None
    assert digest(other) != receipt["digest"]


def test_the_digest_of_ids_does_not_depend_on_their_order():
    assert ids_digest([b"x", b"y"]) == ids_digest([b"y", b"x"]) != ids_digest([b"x", b"z"])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no json", "cannot be read"),
        (b"[]", "is not a receipt"),
        (b'{"format": "influence-store/selection.lock", "format_version": 9}', "version 9"),
        (b'{"format": "influence-store/selection.lock", "format_version": 1}', "lacks data"),
    ],
)
def test_what_is_no_receipt_is_refused(tmp_path, content, says):
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(InputError, match=says):
        from_file(file)


def test_more_samples_than_gains_are_refused():
    receipt = sealed(CONTENT)
    with pytest.raises(InputError, match="2 samples and 1 gains"):
        first_difference(receipt, {**receipt, "gains": [0.5]})
