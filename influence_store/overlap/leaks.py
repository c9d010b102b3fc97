"""Does a pool hold what it is going to be judged on? Runs of n words that a target shares.

Brown et al. (2020, GPT-3, appendix C) call a target row leaked where 13 words in a row also stand
in the training data; Chowdhery et al. (2022, PaLM, section 8) where 70 % of its runs of 8 words
do. Both are kept here, with one difference: the overlap is between two *rows*, so that a leak can
be shown and taken out, and a share is of the target row's own runs.

What everybody writes proves nothing. A run of the shortest length is *template* where more than
`common` of the target's rows have it ("Answer the question below, step by step: …") or more than
`common` of the pool's, but never where it is in `_COPIES` rows or fewer, which may be copies of one
leak. Only runs that touch no word of a template are *telling*: one that is template but for its
last word would be as common as that word is as a first one. Prompt and response are searched
apart, so that no run straddles them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from influence_store.overlap.words import ngrams, packed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from influence_store.overlap.words import Hashes
    from influence_store.protocols import Doubles, Flags, Ids

_COPIES = 10

#: Word hashes of a row's parts: its turns, or its prompt and its response.
Parts = tuple["Hashes", ...]


@dataclass(frozen=True)
class Shared:
    """Pairs (pool row, target row) with the share in (0, 1] of the target's telling runs, (n,).

    Positions in the order given; ascending by pool row, then target row. `words` make a run;
    `unjudged` target rows have no telling run: they are too short, or template throughout.
    """

    words: int
    pool: Ids
    target: Ids
    share: Doubles
    unjudged: int

    def __len__(self) -> int:
        return len(self.pool)


@dataclass(frozen=True)
class Template:
    """How many `runs` of `words` words are template, and where the commonest of them stands.

    It is in `rows` rows of pool or target, first in part `part` of target row `row`, from word
    `place` on.
    """

    words: int
    runs: int
    rows: int = 0
    row: int = 0
    part: int = 0
    place: int = 0


def overlap(
    pool: Iterable[Parts], target: Sequence[Parts], sizes: Sequence[int], *, common: float
) -> tuple[list[Shared], Template]:
    """Every pair of rows that shares a telling run of n words, for each n of `sizes`; exact.

    The pool is read once and not kept. `common` in [0, 1] is the share of rows above which a run
    is template; 1 keeps all.
    """
    books = [_Book(target, n) for n in sizes]
    n_pool = 0
    for parts in pool:
        for book in books:
            book.look_up(parts, n_pool)
        n_pool += 1
    shortest = min(books, key=lambda book: book.n)
    rows = shortest.rows_per_run()
    is_template = (rows[0] > max(common * n_pool, _COPIES)) | (
        rows[1] > max(common * len(target), _COPIES)
    )
    template = shortest.known[is_template]
    telling = [[_telling(part, shortest.n, template) for part in parts] for parts in target]
    found = [book.shared(telling) for book in books]
    return found, _commonest(target, shortest, np.where(is_template, rows.max(axis=0), 0))


class _Book:
    """The target's runs of `n` words, and which rows of the pool have them."""

    def __init__(self, target: Sequence[Parts], n: int) -> None:
        self.n = n
        self._target = target
        runs = [np.unique(_runs(parts, n)) for parts in target]
        self.known, self._rows_in_target = np.unique(packed(runs)[1], return_counts=True)
        self._pool_rows: list[Ids] = [np.zeros(0, np.int64)]
        self._pool_runs: list[Ids] = [np.zeros(0, np.int64)]

    def look_up(self, parts: Parts, pool_row: int) -> None:
        """Note which known runs the next row of the pool has."""
        place = np.unique(_places(_runs(parts, self.n), self.known))
        self._pool_runs.append(place)
        self._pool_rows.append(np.full(len(place), pool_row))

    def rows_per_run(self) -> Ids:
        """Rows of the pool, then rows of the target, that have each known run, (2, n_runs)."""
        in_pool = np.bincount(np.concatenate(self._pool_runs), minlength=len(self.known))
        return np.stack([in_pool, self._rows_in_target])

    def shared(self, telling: Sequence[Sequence[Flags]]) -> Shared:
        """Count the telling runs that each pair of rows has in common."""
        runs = [
            np.unique(_runs(parts, self.n, flags))
            for parts, flags in zip(self._target, telling, strict=True)
        ]
        starts, values = packed(runs)
        sizes = np.diff(starts)
        row, run = np.repeat(np.arange(len(runs)), sizes), np.searchsorted(self.known, values)
        order = np.argsort(run, kind="stable")
        pool_run, pool_row = np.concatenate(self._pool_runs), np.concatenate(self._pool_rows)
        first = np.searchsorted(run[order], pool_run, "left")
        counts = np.searchsorted(run[order], pool_run, "right") - first
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        targets = row[order[np.repeat(first, counts) + offsets]]
        n = max(len(sizes), 1)
        pairs, times = np.unique(np.repeat(pool_row, counts) * n + targets, return_counts=True)
        a, b = pairs // n, pairs % n
        return Shared(self.n, a, b, times / sizes[b], int((sizes == 0).sum()))


def _runs(parts: Parts, n: int, flags: Sequence[Flags] | None = None) -> Hashes:
    """All runs of `n` words of a row; with `flags`, only those of which every word is flagged."""
    found = [ngrams(part, n) for part in parts]
    if flags is not None:
        found = [
            runs[_windows(part_flags, n, len(runs)) == n]
            for runs, part_flags in zip(found, flags, strict=True)
        ]
    return np.concatenate([np.zeros(0, np.uint64), *found])


def _telling(part: Hashes, n: int, template: Hashes) -> Flags:
    """Which words of a text are in no template run, (n_words,)."""
    hit = np.isin(ngrams(part, n), template)
    edges = np.zeros(len(part) + 1, np.int64)
    starts = np.flatnonzero(hit)
    np.add.at(edges, starts, 1)
    np.add.at(edges, starts + n, -1)
    return np.asarray(np.cumsum(edges)[:-1] == 0)


def _windows(flags: Flags, n: int, n_runs: int) -> Ids:
    """How many words are flagged in each run of `n`, (n_runs,)."""
    total = np.concatenate([[0], np.cumsum(flags)])
    return np.asarray(total[n : n + n_runs] - total[:n_runs], np.int64)


def _places(runs: Hashes, known: Hashes) -> Ids:
    """Where in `known` (ascending) those of `runs` stand that are there."""
    if not len(known):
        return np.zeros(0, np.int64)
    place: Ids = np.minimum(np.searchsorted(known, runs), len(known) - 1)
    there: Ids = place[known[place] == runs]
    return there


def _commonest(target: Sequence[Parts], book: _Book, rows: Ids) -> Template:
    """`rows` (n_runs,) is how many rows have each run that is template, 0 for the others."""
    if not rows.any():
        return Template(book.n, 0)
    commonest = book.known[rows == rows.max()]
    row, part, place = next(
        (row, part, int(places[0]))
        for row, parts in enumerate(target)
        for part, hashes in enumerate(parts)
        if len(places := np.flatnonzero(np.isin(ngrams(hashes, book.n), commonest)))
    )
    return Template(book.n, int((rows > 0).sum()), int(rows.max()), row, part, place)
