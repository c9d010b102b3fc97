"""Contents are found by id or by the beginning of one, however the rows are cut into batches."""

from __future__ import annotations

import pyarrow as pa
import pytest

from influence_store.store import contents

IDS = [bytes([k, 255 - k, 7 * k % 256]) for k in range(50)]


@pytest.fixture(params=[1, 7, 1000])
def batches(request, monkeypatch):
    """Fifty contents with sids from 100 on, in batches of four, compared so many at a time."""
    monkeypatch.setattr(contents, "_AT_A_TIME", request.param)
    return [
        pa.record_batch(
            [pa.array(range(100 + k, 100 + min(k + 4, 50))), pa.array(IDS[k : k + 4], pa.binary())],
            names=contents.COLUMNS,
        )
        for k in range(0, 50, 4)
    ]


def rows(frame):
    return sorted(frame.select("sid", "sample_id").iter_rows())


def test_all_are_told(batches):
    assert rows(contents.everything(batches)) == [(100 + k, one) for k, one in enumerate(IDS)]


def test_those_of_a_list_are_found_once_and_strangers_are_not(batches):
    wanted = [IDS[31], IDS[2], IDS[31], b"stranger"]
    assert rows(contents.among(batches, wanted)) == [(102, IDS[2]), (131, IDS[31])]
    assert contents.among(batches, []).height == 0


def test_those_that_begin_alike_are_found_by_hex_digits(batches):
    """An odd number of digits ends within a byte; capitals are the same."""
    assert rows(contents.beginning(batches, ["1f"])) == [(131, IDS[31])]
    assert [sid for sid, _ in rows(contents.beginning(batches, ["1", "0F"]))] == [
        115, *range(116, 132)
    ]  # fmt: skip
    assert contents.beginning(batches, ["zz"]).height == 0
    assert contents.beginning(batches, []).height == 0


def test_a_store_without_samples_has_none():
    assert rows(contents.everything([])) == rows(contents.among([], [b"a"])) == []
