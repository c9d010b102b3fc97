"""What is a selection compared with, and why? The names of the arms of a trial, and their rows.

untrained     the model as it is: did any training help?
random        as many rows, drawn anew for every run: the least that a selection must beat
length        random rows with the response lengths of the selection: was it only length?
top           as many rows by mean influence on the same kernel: did diversity matter?
cosine-fl     facility location by cosine: was influence worth its LLM passes?
full          all rows, read to the same number of tokens: is less data better data?
full-epoch    all rows once through, at whatever cost
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from influence_store.schema.identity import content_order
from influence_store.selection.length import length_matched
from influence_store.selection.random_choice import random_choice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.protocols import Doubles, Ids

SELECTION, UNTRAINED = "selection", "untrained"
RANDOM, LENGTH, TOP, COSINE_FL = "random", "length", "top", "cosine-fl"
FULL, FULL_EPOCH = "full", "full-epoch"
#: Those to be named by `--arms`; the first five unless others are.
BASELINES = (RANDOM, LENGTH, TOP, COSINE_FL, FULL, FULL_EPOCH, UNTRAINED)
USUAL = (RANDOM, LENGTH, TOP, COSINE_FL, FULL)

TOLD = {
    RANDOM: "random",
    LENGTH: "length-matched random",
    TOP: "top by mean",
    COSINE_FL: "cosine facility location",
    FULL: "all data",
    FULL_EPOCH: "all data, once through",
    UNTRAINED: "the untrained model",
}


@dataclass(frozen=True)
class Arm:
    """`sets[run]` are the rows (sids, ascending) of each run, one or more sets to be averaged.

    `of` are the selections that it is a baseline of; a selection itself has none. `tokens` tells
    whether its reading stops at the common budget; `redrawn` whether every run has its own rows.
    """

    kind: str
    name: str
    sets: tuple[tuple[Ids, ...], ...]
    of: tuple[str, ...] = ()
    tokens: bool = True
    redrawn: bool = False

    @property
    def rows(self) -> int:
        """Rows of one set; they are equally many in all."""
        return len(self.sets[0][0]) if self.sets[0] else 0


def random_sets(
    pool: Ids, ids: Sequence[bytes], n: int, *, seeds: Sequence[int], draws: int
) -> tuple[tuple[Ids, ...], ...]:
    """`draws` random sets of n of the `pool` for each of `seeds`; all of them independent.

    A set depends on the contents `ids` (one per row of the pool) and its seed alone.
    """
    return tuple(
        tuple(
            np.sort(pool[random_choice(n, ids=ids, seed=_drawn(seed, k)).items])
            for k in range(draws)
        )
        for seed in seeds
    )


def length_sets(
    pool: Ids,
    ids: Sequence[bytes],
    lengths: Doubles,
    like: Doubles,
    *,
    seeds: Sequence[int],
    draws: int,
) -> tuple[tuple[Ids, ...], ...]:
    """The same with the response lengths `like` of a selection, as far as the pool has them."""
    return tuple(
        tuple(
            np.sort(
                pool[
                    length_matched(
                        len(like), lengths=lengths, like=like, ids=ids, seed=_drawn(seed, k)
                    ).items
                ]
            )
            for k in range(draws)
        )
        for seed in seeds
    )


def held_out_rows(ids: Sequence[bytes], count: int, seed: int) -> Ids:
    """Positions of `count` of the contents `ids`, in an order that is independent of the arms'."""
    return np.array(content_order(ids, seed, "held out")[:count], np.int64)


def _drawn(seed: int, draw: int) -> int:
    """Every draw has a seed of its own, and none that a random selection is likely to have."""
    return (seed + 1) * 1_000_003 + draw
