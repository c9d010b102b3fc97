"""What does a rising curve look like on a terminal? Plain characters, no colours, no library.

plotext would draw more than we need: 1.2 MB with a compiled part and one global figure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from influence_store.protocols import Doubles

_WIDTH, _HEIGHT = 60, 11
_LEVELS = {0: "100%", 5: "50%", 10: "0%"}
_POINT, _MARK, _BELOW = "*", "O", "|"


def curve_plot(
    x: Doubles,
    y: Doubles,
    *,
    x_label: str,
    y_label: str,
    mark: int | None = None,
) -> list[str]:
    """14 lines of up to 67 characters: y (n,), parts of a whole, over ascending x (n,) > 0.

    `mark` is the position of a point to be shown as O on a dropped line. ValueError for an empty
    curve.
    """
    if len(x) == 0:
        raise ValueError("a curve without points cannot be drawn")
    right = float(x[-1])
    cells = np.full((_HEIGHT, _WIDTH), " ")
    column = (x / right * (_WIDTH - 1)).round().astype(np.int64)
    row = ((1 - np.clip(y, 0, 1)) * (_HEIGHT - 1)).round().astype(np.int64)
    # Between two points the curve stays where it was: a pick is bought whole.
    before = np.searchsorted(x, np.linspace(0, right, _WIDTH), side="right") - 1
    drawn = np.flatnonzero(before >= 0)
    cells[row[before[drawn]], drawn] = _POINT
    cells[row, column] = _POINT
    if mark is not None:
        cells[row[mark] :, column[mark]] = _BELOW
        cells[row[mark], column[mark]] = _MARK
    lines = [f"{_LEVELS.get(k, ''):>4} |{''.join(cells[k])}".rstrip() for k in range(_HEIGHT)]
    foot = f"{right:,.0f} {x_label}"
    return [y_label, *lines, f"     +{'-' * _WIDTH}", f"     0{foot:>{_WIDTH}}"]
