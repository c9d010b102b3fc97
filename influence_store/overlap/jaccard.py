"""How much do two sets of words share? J(A, B) = |A ∩ B| / |A ∪ B|, and the longest common run.

Compiled, over sorted numbers: a merge of two lists per pair, a table of two rows per run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from influence_store.jit import compiled

if TYPE_CHECKING:
    from influence_store.overlap.words import Hashes
    from influence_store.protocols import Doubles, Ids


def jaccard(starts: Ids, values: Hashes, left: Ids, right: Ids) -> Doubles:
    """J of the sets left[k] and right[k], (len(left),); two empty sets have 0.

    Set i is values[starts[i] : starts[i + 1]], ascending and without repetition.
    """
    out = np.zeros(len(left))
    _jaccard(starts, values, left, right, out)
    return out


def longest_run(a: Hashes, b: Hashes) -> tuple[int, int]:
    """Words in the longest run that `a` and `b` share, and where its first stands in `a`."""
    length, end = _longest_run(a, b)
    return int(length), int(end - length)


@compiled()
def _jaccard(starts: Ids, values: Hashes, left: Ids, right: Ids, out: Doubles) -> None:
    for k in range(len(left)):
        i, i_end = starts[left[k]], starts[left[k] + 1]
        j, j_end = starts[right[k]], starts[right[k] + 1]
        size, shared = (i_end - i) + (j_end - j), 0
        while i < i_end and j < j_end:
            x, y = values[i], values[j]
            shared += x == y
            i += x <= y
            j += y <= x
        if size > 0:
            out[k] = shared / (size - shared)


@compiled()
def _longest_run(a: Hashes, b: Hashes) -> tuple[int, int]:
    # table[j + 1] = words in the run that ends at a[i] and b[j]; going down keeps the last row's.
    table = np.zeros(len(b) + 1, np.int64)
    length, end = 0, 0
    for i in range(len(a)):
        for j in range(len(b) - 1, -1, -1):
            table[j + 1] = table[j] + 1 if a[i] == b[j] else 0
            if table[j + 1] > length:
                length, end = table[j + 1], i + 1
    return length, end
