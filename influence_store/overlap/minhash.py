"""Which pairs of sets may be alike? MinHash with banding, never n × n.

Broder (1997): a random order of all elements has the same first element in A and B with
probability J(A, B) = |A ∩ B| / |A ∪ B|. Of `permutations` such orders (datasketch makes them),
`band` at a time form a key; two sets become candidates where any key agrees, which happens with
probability 1 − (1 − J^band)^(permutations / band). At the default 128 and 4 a pair with J = .8 is
missed once in 10^7, one with J = .7 once in 6,500. Whether a pair is a candidate depends on its
two sets and the seed alone, so the order of arrival cannot matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from influence_store.overlap.pairs import too_many
from influence_store.overlap.words import ngrams

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from influence_store.overlap.words import Hashes
    from influence_store.protocols import Ids

    Keys = npt.NDArray[np.uint64]

#: datasketch's family of permutations; part of every fact that rests on it.
SCHEME = "affine32"
#: Pairs on which several bands agree are merged whenever so many have come together.
_MERGE_PAIRS = 1 << 23


def band_keys(sets: Iterable[Hashes], permutations: int, band: int, seed: int) -> Keys:
    """One key per set and band, (n_sets, permutations // band); zeros for an empty set.

    ValueError unless `band` divides `permutations`.
    """
    from datasketch import MinHash

    if permutations % band:
        raise ValueError(f"{permutations} permutations are no whole number of bands of {band}")
    n_bands = permutations // band
    blank = MinHash(num_perm=permutations, seed=seed, scheme=SCHEME, hashfunc=int)
    keys = []
    for elements in sets:
        if not len(elements):
            keys.append(np.zeros(n_bands, np.uint64))
            continue
        sketch = blank.copy()
        sketch.update_batch((elements >> np.uint64(32)).tolist())
        keys.append(ngrams(np.asarray(sketch.hashvalues, np.uint64), band)[::band])
    return np.array(keys, np.uint64).reshape(len(keys), n_bands)


class BandIndex:
    """Sets by their keys, sorted once for every band."""

    def __init__(self, keys: Keys) -> None:
        #: Positions of sets that are not empty.
        self._filled = np.flatnonzero(keys.any(axis=1))
        self._keys = keys
        self._orders = [
            self._filled[np.argsort(keys[self._filled, b], kind="stable")]
            for b in range(keys.shape[1])
        ]

    def candidates(self, start: int, stop: int, *, limit: int) -> tuple[Ids, Ids]:
        """Pairs (a, b) with b < a and start ≤ a < stop that agree in a key; each once, ascending.

        Called for consecutive ranges from 0 to n, it yields every pair of the n sets exactly once.
        UsageError where more than `limit` pairs agree: nearly all the texts are one text.
        """
        mine = self._filled[(self._filled >= start) & (self._filled < stop)]
        n = len(self._keys)
        found: list[Ids] = []
        for b, order in enumerate(self._orders):
            column = self._keys[order, b]
            first = np.searchsorted(column, self._keys[mine, b], "left")
            counts = np.searchsorted(column, self._keys[mine, b], "right") - first
            if counts.sum() > limit:
                raise too_many(int(counts.sum()), stop - start)
            offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            left = np.repeat(mine, counts)
            right = order[np.repeat(first, counts) + offsets]
            found.append((left * n + right)[right < left])
            if sum(map(len, found)) > _MERGE_PAIRS:
                found = [np.unique(np.concatenate(found))]
        pairs = np.unique(np.concatenate([np.zeros(0, np.int64), *found]))
        return pairs // max(n, 1), pairs % max(n, 1)
