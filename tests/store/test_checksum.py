from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest

from influence_store.store.blocks import Checksum

SCHEMA = pa.schema(
    [
        pa.field("sid", pa.int64()),
        pa.field("text", pa.string()),
        pa.field("id", pa.binary(2)),
        pa.field("vector", pa.list_(pa.float32(), 3)),
        pa.field("flag", pa.bool_()),
        pa.field("value", pa.float32()),
    ]
)


def batch(n=10, **changes):
    rng = np.random.default_rng(1)
    columns = {
        "sid": list(range(n)),
        "text": [f"row {k}" * (k % 3) for k in range(n)],
        "id": [bytes([k, 255 - k]) for k in range(n)],
        "vector": rng.random((n, 3)).astype(np.float32).tolist(),
        "flag": [k % 2 == 0 for k in range(n)],
        "value": [None if k == 4 else k / 7 for k in range(n)],
    }
    for name, (row, value) in changes.items():
        columns[name][row] = value
    return pa.record_batch(
        [pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA
    )


def digest(*batches):
    checksum = Checksum(SCHEMA)
    for one in batches:
        checksum.update(one)
    return checksum.hexdigest()


@pytest.mark.parametrize("cuts", [[5], [1, 2, 3], [9], [0, 10]])
def test_checksum_does_not_depend_on_how_rows_are_batched(cuts):
    whole = batch()
    edges = [0, *cuts, whole.num_rows]
    parts = [whole.slice(a, b - a) for a, b in itertools.pairwise(edges)]
    assert digest(*parts) == digest(whole)


@pytest.mark.parametrize(
    "change",
    [
        {"sid": (3, 99)},
        {"text": (3, "other")},
        {"text": (3, None)},
        {"id": (0, b"zz")},
        {"vector": (9, [0.0, 0.0, 0.0])},
        {"flag": (1, True)},
        {"value": (2, None)},
        {"value": (4, 0.0)},
    ],
    ids=str,
)
def test_checksum_sees_every_changed_cell(change):
    assert digest(batch(**change)) != digest(batch())


def test_checksum_sees_a_letter_that_moves_to_the_next_row():
    assert digest(batch(text=(1, "ab"))) != digest(batch(text=(1, "a")))
    left = batch(text=(1, "ab"))
    texts = left["text"].to_pylist()
    texts[1:3] = ["a", "b" + texts[2]]
    moved = left.set_column(1, SCHEMA[1], pa.array(texts, pa.string()))
    assert digest(moved) != digest(left)


def test_checksum_sees_order():
    whole = batch()
    assert digest(whole.take(pa.array([1, 0, *range(2, 10)]))) != digest(whole)
