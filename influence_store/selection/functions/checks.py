"""What must hold before a set function is what its formula says it is?"""

from __future__ import annotations

from numbers import Real

import numpy as np


def check_weight(name: str, value: float) -> float:
    """`value` as a float; ValueError unless it is finite and ≥ 0."""
    if not (_is_number(value) and np.isfinite(value) and value >= 0):
        raise ValueError(f"{name} is {value}; expected a finite number ≥ 0")
    return float(value)


def check_share(name: str, value: float) -> float:
    """`value` as a float; ValueError unless 0 < value ≤ 1."""
    if not (_is_number(value) and 0 < value <= 1):
        raise ValueError(f"{name} is {value}; expected a number above 0 and up to 1")
    return float(value)


def _is_number(value: object) -> bool:
    # From the command line a value may come as text, a truth value or a list.
    return isinstance(value, Real) and not isinstance(value, bool)


def check_not_negative(lowest: float, function: str) -> None:
    """ValueError if the smallest value of the kernel is below 0."""
    if lowest < 0:
        raise ValueError(
            f"{function} needs values ≥ 0 and the smallest is {lowest:.6g}; "
            "wrap every kernel in Clipped(view), or shift all of them by one amount"
        )


def check_same_targets(shape: tuple[int, int], other: tuple[int, int], role: str) -> None:
    """ValueError if two kernels that are compared row by row differ in their number of rows."""
    if shape[0] != other[0]:
        raise ValueError(
            f"the kernel has {shape[0]} targets and the {role} kernel {other[0]}; "
            "expected the same targets, in the same order"
        )
