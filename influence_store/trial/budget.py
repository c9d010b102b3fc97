"""What is equal between two arms of a trial: tokens read and optimizer steps, not rows.

Every arm reads the same number of tokens, prompts and responses together, in the same number of
optimizer steps. An arm with fewer tokens than that is read again in another order, one with more
is read in part. The count is met up to half of the last sample, since samples are not cut for it.
What is not equal, and told beside it: rows seen, times each was seen, and response tokens, which
are the ones that are learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from influence_store.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.protocols import Ids


@dataclass(frozen=True)
class Budget:
    """`tokens` to read in `steps` optimizer steps."""

    tokens: int
    steps: int

    @classmethod
    def of(cls, tokens: int, *, step_tokens: int, longest: int) -> Budget:
        """Steps of about `step_tokens`, but never so small that a step could be left empty.

        UsageError if `tokens` is not even one sample of `longest` tokens.
        """
        if tokens < longest:
            raise UsageError(
                f"a budget of {tokens:,} tokens does not hold the longest sample, {longest:,}",
                hint="raise --tokens, or lower --max-tokens",
            )
        return cls(tokens, max(1, tokens // max(step_tokens, longest)))


@dataclass(frozen=True)
class Schedule:
    """`steps[t]` are the positions of the rows read in optimizer step t; each at least one."""

    steps: tuple[Ids, ...]
    tokens: int

    @property
    def reads(self) -> Ids:
        """Positions in reading order, (reads,)."""
        return np.concatenate(self.steps)

    @property
    def rows_seen(self) -> int:
        """How many different rows are read at all."""
        return len(np.unique(self.reads))


def schedule(lengths: Ids, budget: Budget, seed: int) -> Schedule:
    """Which of n rows with `lengths` (n,) tokens are read in which step.

    Passes over the rows follow one another, each a permutation drawn from `seed`, until the
    budget is met. ValueError without rows, or if one is longer than a step.
    """
    share = budget.tokens / budget.steps
    if not len(lengths) or not lengths.min() or lengths.max() > share:
        raise ValueError(f"{len(lengths)} rows do not fit steps of {share:g} tokens")
    steps: list[list[int]] = [[] for _ in range(budget.steps)]
    read = step = 0
    for place in _endless(len(lengths), seed):
        length = int(lengths[place])
        over = read + length - budget.tokens
        if over > 0 and steps[-1] and over > length / 2:
            break
        steps[step].append(place)
        read += length
        if read >= budget.tokens:
            break
        while read >= (step + 1) * share and step + 1 < budget.steps:
            step += 1
    return Schedule(tuple(np.array(one, np.int64) for one in steps), read)


def _endless(n: int, seed: int) -> Iterator[int]:
    rng = np.random.default_rng(seed)
    while True:
        yield from rng.permutation(n).tolist()
