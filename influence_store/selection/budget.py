"""How much may be picked? `500`, `10%`, `200k-tokens` or `auto`, understood before any work.

Shares are fractions, not floats: 29% of 100 is 29, while int(0.29 * 100) is 28.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from influence_store.errors import UsageError

if TYPE_CHECKING:
    from influence_store.protocols import Ids

_COUNT = re.compile(r"[0-9]+")
_SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+) *%")
_TOKENS = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+) ?([kmb]?)[- ]?(?:tokens|token|tok)")
_THOUSANDS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_COUNTS = "give a number of samples, e.g. --budget 500, or a share of them, e.g. --budget 10%"
_FORMS = f"{_COUNTS}, or tokens, e.g. --budget 200k-tokens, or --budget auto"


@dataclass(frozen=True)
class Amount:
    """`500` or `10%`: so many samples, or (`relative`) the part `number` of some whole."""

    number: Fraction
    relative: bool = False

    @classmethod
    def parse(cls, text: str) -> Amount | None:
        """None if `text` is neither a whole number nor a percentage."""
        if _COUNT.fullmatch(text):
            return cls(Fraction(int(text)))
        if share := _SHARE.fullmatch(text):
            return cls(Fraction(share[1]) / 100, relative=True)
        return None

    def at_most(self, whole: int) -> int:
        """The most samples out of `whole` that do not exceed it: shares are rounded down."""
        return math.floor(self._of(whole))

    def at_least(self, whole: int) -> int:
        """The fewest samples out of `whole` that reach it: shares are rounded up."""
        return math.ceil(self._of(whole))

    def _of(self, whole: int) -> Fraction:
        return self.number * whole if self.relative else self.number


@dataclass(frozen=True)
class Budget:
    """What a selection may spend; exactly one of `samples`, `tokens` and `auto` is set.

    `samples` is a count or a share; `auto` stops at the knee of the gain curve. `text` is how the
    user said it.
    """

    text: str
    samples: Amount | None = None
    tokens: int | None = None
    auto: bool = False

    def count(self, n: int) -> int:
        """The number of samples out of `n`, 1..n; shares are rounded down.

        UsageError if it is none or more than all, and for a budget that does not count samples.
        """
        if n < 1:
            raise UsageError("there is no sample to select from", hint="ingest some data first")
        if self.samples is None:
            raise UsageError(f"budget {self.text} does not count samples", hint=_COUNTS)
        count = self.samples.at_most(n)
        if count > n:
            raise UsageError(
                f"budget {self.text} asks for {count} of {n} samples",
                hint="to take all of them, in the order of their worth: --budget 100%",
            )
        if count < 1:
            raise UsageError(f"budget {self.text} of {n} samples is less than one", hint=_COUNTS)
        return count

    def tokens_of(self, counts: Ids) -> int:
        """The tokens to spend on samples of `counts` (n,) tokens each.

        UsageError if they buy not even the cheapest sample, or more than all of them, and for a
        budget that does not count tokens.
        """
        if self.tokens is None:
            raise UsageError(
                f"budget {self.text} does not count tokens", hint="e.g. --budget 200k-tokens"
            )
        if len(counts) == 0:
            raise UsageError("there is no sample to select from", hint="ingest some data first")
        cheapest, total = int(counts.min()), int(counts.sum())
        if self.tokens > total:
            raise UsageError(
                f"budget {self.text} asks for {self.tokens} of {total} tokens",
                hint="to take all samples, in the order of their worth: --budget 100%",
            )
        if self.tokens < cheapest:
            raise UsageError(
                f"budget {self.text} buys no sample: the shortest of {len(counts)} has "
                f"{cheapest} tokens",
                hint=f"give at least --budget {cheapest}-tokens",
            )
        return self.tokens


def parse_budget(text: str) -> Budget:
    """What `text` allows: `500`, `10%`, `200k-tokens`, `1.5M-tokens` (k, M, B) or `auto`.

    A part of a token is dropped. UsageError for anything else says what was probably meant.
    """
    asked = text.strip()
    if asked.lower() == "auto":
        return Budget(asked, auto=True)
    if (samples := Amount.parse(asked)) is not None:
        return Budget(asked, samples=samples)
    if not (tokens := _TOKENS.fullmatch(asked.lower())):
        raise _refusal(asked)
    spent = math.floor(Fraction(tokens[1]) * _THOUSANDS[tokens[2]])
    if spent < 1:
        raise UsageError(f"budget {asked} allows no token", hint=_FORMS)
    return Budget(asked, tokens=spent)


def budget_count(text: str, n: int) -> int:
    """The number of samples that `text` allows out of `n`: `500` → 500, `10%` of 8,500 → 850.

    UsageError for anything else, and for a budget that allows none or more than all.
    """
    return parse_budget(text).count(n)


def _refusal(asked: str) -> UsageError:
    """Why `asked` is no budget, and what was probably meant."""
    if not _NUMBER.fullmatch(asked):
        return UsageError(f"{asked!r} is not a budget", hint=_FORMS)
    number = float(asked)
    if 0 < number < 1:
        meant = f"for that share of the samples: --budget {number * 100:g}%"
        return UsageError(f"budget {asked} is neither a count nor a share", hint=meant)
    if number >= 1:
        return UsageError(f"budget {asked} is not a whole number of samples", hint=_FORMS)
    return UsageError(f"budget {asked} allows no sample", hint=_FORMS)
