"""What does a selector ask for, and what does it hand back?

A selector is a function `select(budget, *, inputs, options) -> Picks`. Keyword arguments without
a default are its inputs; their names say what they hold, one entry per sample:

    ids      (n,) bytes: content hashes, which make a random order independent of storage
    vectors  (n, d): any stored embedding; NaN rows where there is none
    scores   (n,): any stored value; NaN where there is none
    lengths  (n,): how long each response is, in any unit
    like     (m,): lengths, in that unit, of the samples to resemble
    seed     one integer

Those with a default are options. Set functions need a kernel and stay with the optimizers.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from influence_store.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from influence_store.protocols import Gains, Ids


@dataclass(frozen=True)
class Picks:
    """Positions in the order picked, and what the selector itself says of each of them.

    `gains` (len(items),) is the number named by facts["gain"], NaN where there is none; `facts`
    hold every option and every count, ready for JSON.
    """

    items: Ids
    gains: Gains
    facts: Mapping[str, Any]


def inputs_of(selector: Callable[..., Picks]) -> tuple[str, ...]:
    """Names of the inputs a selector needs, in the order of its signature."""
    parameters = list(inspect.signature(selector).parameters.values())
    return tuple(
        one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.default is one.empty
    )


def check_budget(budget: int, left: int, n: int, dropped: Mapping[str, int]) -> None:
    """UsageError unless 1 ≤ budget ≤ left; `dropped` says where the other n − left went."""
    if budget < 1:
        raise UsageError(f"budget is {budget}; expected at least 1")
    if budget > left:
        told = ", ".join(f"{count} {reason}" for reason, count in dropped.items() if count)
        raise UsageError(
            f"budget {budget} of {n} samples, of which {left} can be chosen"
            + (f" ({told})" if told else ""),
            hint=f"ask for {left} or fewer" if left else "choose another selector",
        )
