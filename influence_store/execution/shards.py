"""How is a list cut into shards? By counts alone, so that every engine cuts it alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

T = TypeVar("T")

#: What a kill may cost of expensive work: this share of what the run has done.
_SHARE = 1 / 32


def growing(items: Sequence[T], first: int, most: int) -> Iterator[Sequence[T]]:
    """Pieces of `first` items, later of a 32nd of all items before, at most `most`.

    Whoever is slow publishes often, whoever is fast soon writes large blocks, and no clock decides
    where a piece ends.
    """
    start = 0
    while start < len(items):
        size = max(1, min(max(first, int(start * _SHARE)), most))
        yield items[start : start + size]
        start += size


def in_sizes(items: Iterable[tuple[T, int]], least: int, most: int) -> Iterator[list[T]]:
    """The same for items that weigh different amounts: (item, weight), all above 0.

    A piece ends as soon as it weighs `least`, or later a 32nd of all before, at most `most`.
    """
    piece: list[T] = []
    before = weight = 0
    for item, its_weight in items:
        piece.append(item)
        weight += its_weight
        if weight >= min(max(least, int(before * _SHARE)), most):
            yield piece
            before, weight, piece = before + weight, 0, []
    if piece:
        yield piece
