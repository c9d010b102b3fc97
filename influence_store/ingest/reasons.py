"""For which reasons were records rejected, and how many for each? Kept with the version for good.

So nothing that stood in a record is in them: a catalog keeps no text of a row that was left out,
and a reason that quotes one would be of one record only.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from influence_store.ingest.rows import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from influence_store.ingest.rows import Rejected

OTHER = "other reasons"
_MOST, _LONGEST = 20, 160
# What a reason quotes of its record, and what is said instead. A text may hold anything, also the
# words that stand behind it: all up to the last of these is taken for it.
_QUOTED = (
    (re.compile(r" \(found .*", re.DOTALL), ""),
    (re.compile(r"(still being written\?) \(.*", re.DOTALL), r"\1"),
    (re.compile(r"(cannot be (?:read|written)[^:]*): .*", re.DOTALL), r"\1"),
    (re.compile(r"^.*: (?=contains NUL|lone surrogate)", re.DOTALL), ""),
    (re.compile(r"\bthe key .* appears twice"), "a key appears twice"),
    (re.compile(r"\bfound (text|number|object|role)\b.*(?=, expected)"), r"found \1"),
    (re.compile(r"\bfound (text|number|object|role)\b(?!.*, expected).*"), r"found \1"),
    (re.compile(r"\bnumber \S+"), "number N"),
    (re.compile(r"0x[0-9a-f]+|\\u[0-9a-f]{4}|\d+(?:,\d{3})*"), "N"),
)


def count_reasons(rejected: Iterable[Rejected]) -> Mapping[str, int]:
    """Records by what is wrong with them, without a value of theirs; the most frequent first.

    Numbers in a reason are `N`. Beyond 20 reasons the rest is told as `other reasons`.
    """
    found = Counter(_without_values(one.reason) for one in rejected)
    ranked = sorted(found.items(), key=lambda one: (-one[1], one[0]))
    rest = sum(count for _, count in ranked[_MOST:])
    return dict(ranked[:_MOST]) | ({OTHER: rest} if rest else {})


def _without_values(reason: str) -> str:
    for quoted, instead in _QUOTED:
        reason = quoted.sub(instead, reason)
    return shown(reason, _LONGEST)
