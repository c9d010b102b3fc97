"""How many samples may be picked? `500` or `10%`, checked before any work."""

from __future__ import annotations

import re
from fractions import Fraction

from influence_store.errors import UsageError

_COUNT = re.compile(r"[0-9]+")
_SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+) *%")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_LATER = re.compile(r"auto|[0-9]+[kKmM]?-?(?:tokens|tok|minutes|min)")
_FORMS = "give a number of samples, e.g. --budget 500, or a share of them, e.g. --budget 10%"


def budget_count(text: str, n: int) -> int:
    """The number of samples that `text` allows out of `n`; shares are rounded down.

    `500` → 500, `10%` of 8,500 → 850. UsageError for anything else, and for a budget that allows
    none or more than all.
    """
    asked = text.strip()
    if n < 1:
        raise UsageError("there is no sample to select from", hint="ingest some data first")
    if _COUNT.fullmatch(asked):
        return _within(int(asked), n, text)
    if share := _SHARE.fullmatch(asked):
        # Fraction, not float: 29% of 100 is 29, while int(0.29 * 100) is 28.
        return _within(int(Fraction(share[1]) * n / 100), n, text)
    raise _refusal(asked, n)


def _within(count: int, n: int, text: str) -> int:
    """`count` if 1 ≤ count ≤ n."""
    if count > n:
        raise UsageError(
            f"budget {text.strip()} asks for {count} of {n} samples",
            hint="to take all of them, in the order of their worth: --budget 100%",
        )
    if count < 1:
        raise UsageError(f"budget {text.strip()} of {n} samples is less than one", hint=_FORMS)
    return count


def _refusal(asked: str, n: int) -> UsageError:
    """Why `asked` is no budget, and what was probably meant."""
    if _LATER.fullmatch(asked.lower()):
        return UsageError(f"budgets such as {asked!r} are not supported yet", hint=_FORMS)
    if not _NUMBER.fullmatch(asked):
        return UsageError(f"{asked!r} is not a budget", hint=_FORMS)
    number = float(asked)
    if 0 < number < 1:
        meant = f"for that share of the {n} samples: --budget {number * 100:g}%"
        return UsageError(f"budget {asked} is neither a count nor a share", hint=meant)
    if number >= 1:
        return UsageError(f"budget {asked} is not a whole number of samples", hint=_FORMS)
    return UsageError(f"budget {asked} allows no sample", hint=_FORMS)
