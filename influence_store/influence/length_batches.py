"""Which texts are read together? Those of similar length, so that little padding is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def length_batches(
    lengths: Sequence[int], most_tokens: int, *, most_padding: int | None = None
) -> Iterator[list[int]]:
    """Positions, shortest first, in batches of at most `most_tokens`, padding included.

    A batch also ends before its padding exceeds `most_padding`. A text longer than `most_tokens`
    stands alone.
    """
    batch: list[int] = []
    tokens = 0
    for k in sorted(range(len(lengths)), key=lengths.__getitem__):
        # Sorted by length, so the newcomer's length is the width of the padded batch.
        padded = (len(batch) + 1) * lengths[k]
        padding = padded - tokens - lengths[k]
        too_padded = most_padding is not None and padding > most_padding
        if batch and (padded > most_tokens or too_padded):
            yield batch
            batch, tokens = [], 0
        batch.append(k)
        tokens += lengths[k]
    if batch:
        yield batch
