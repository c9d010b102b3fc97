"""What does it look like when two rows are alike, and when too many are?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from influence_store.errors import UsageError

if TYPE_CHECKING:
    from influence_store.protocols import Doubles, Ids


@dataclass(frozen=True)
class Pairs:
    """Positions a[k] and b[k] and how alike they are, (n,); ascending by a, then b."""

    a: Ids
    b: Ids
    similarity: Doubles

    def __len__(self) -> int:
        return len(self.a)


def too_many(pairs: int, rows: int) -> UsageError:
    """What to say instead of filling the memory with pairs of which none tells anything."""
    return UsageError(
        f"more than {pairs:,} pairs among {rows:,} rows look alike: they nearly all do",
        hint="raise the threshold: --jaccard 0.95 --cosine 0.99",
    )
