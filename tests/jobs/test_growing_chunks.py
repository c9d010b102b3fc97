"""Rows in order, in chunks that grow with what is done: neither lost nor twice, none too large."""

from __future__ import annotations

import pytest
from pyroaring import BitMap

from influence_store.jobs.samples import growing_chunks


@pytest.mark.parametrize(("least", "most"), [(1, 1), (3, 7), (4, 1000), (8, 2)])
@pytest.mark.parametrize("n", [0, 1, 2, 50, 311])
def test_chunks_are_the_rows_in_order(n, least, most):
    rows = BitMap(range(5, 5 + 3 * n, 3))
    parts = list(growing_chunks(rows, least, most))
    assert [sid for part in parts for sid in part] == list(rows)
    done = 0
    for part in parts[:-1]:
        assert len(part) == min(most, max(least, done // 4))
        done += len(part)
    assert all(0 < len(part) <= max(least, most) for part in parts)
