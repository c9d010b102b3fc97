"""What is the inverse of a Hessian times a vector, when only products with the Hessian are cheap?

The recursion of LiSSA (arXiv 1602.03943), in the damped and scaled form that DEALRec uses
(arXiv 2401.17197 §3, and its released code):

    h ← v + (1 − damping) h − H h / scale          fixed point h* = (damping I + H / scale)⁻¹ v

We return h / scale = (H + ridge I)⁻¹ v with ridge = scale · damping. The release leaves out the
division, which its min-max scaling of the scores hides. It contracts exactly if every eigenvalue
of damping I + H / scale lies between 0 and 2.

Deviations: `scale` is measured by power iteration (the release's 25 fits one model); with
minibatches we return the mean of the later half of the iterates, which has the same expectation
and less noise; a recursion that grows is an error and not a result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from influence_store.errors import Incompatible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from influence_store.influence.learner import Reading
    from influence_store.protocols import Doubles, Floats

    Product = Callable[[Doubles], Doubles]

_POWER_STEPS = 20
#: A contracting recursion stays below ‖v‖ / damping; minibatches may overshoot, this much may not.
_OVERSHOOT = 10.0


class HessianProduct(Protocol):
    """`Learner.hessian_product`: ∇² of the mean loss over `readings`, times `vector`."""

    def __call__(self, readings: Sequence[Reading], vector: Floats, /) -> Floats:
        """(n_parameters,) → (n_parameters,)."""
        ...


@dataclass(frozen=True)
class Solution:
    """`vector` ≈ (H + ridge I)⁻¹ v, found in `steps` products.

    `residual` = ‖(H + ridge I) vector − v‖ / ‖v‖ over all rows, 0 = exact.
    """

    vector: Doubles
    steps: int
    residual: float
    scale: float
    damping: float

    @property
    def ridge(self) -> float:
        """What is added to every eigenvalue of H."""
        return self.scale * self.damping


def inverse_hessian_product(
    hessian: HessianProduct,
    rows: Sequence[Reading],
    vector: Floats,
    *,
    damping: float = 0.01,
    scale: float | None = None,
    steps: int = 500,
    hessian_batch: int | None = None,
    tolerance: float = 1e-3,
    seed: int = 0,
) -> Solution:
    """(H + scale · damping · I)⁻¹ `vector` with H the Hessian of the mean loss over `rows`.

    `scale` None = the largest absolute eigenvalue as power iteration sees it, so that `damping`
    is a share of it. `hessian_batch` None reads all rows in each of at most `steps` products and
    stops at a relative residual of `tolerance`; a number draws that many rows for each of exactly
    `steps` products. ValueError for arguments out of range, Incompatible if the recursion grows.
    """
    _check(damping, scale, steps, hessian_batch, len(rows))
    v = np.asarray(vector, np.float64)
    if not np.isfinite(v).all():
        raise Incompatible("the vector to be multiplied with the inverse Hessian is not finite")
    rng = np.random.default_rng(seed)

    def whole(h: Doubles) -> Doubles:
        return np.asarray(hessian(rows, h.astype(np.float32)), np.float64)

    def sampled(h: Doubles) -> Doubles:
        batch = [rows[k] for k in rng.choice(len(rows), size=hessian_batch, replace=False)]
        return np.asarray(hessian(batch, h.astype(np.float32)), np.float64)

    every = hessian_batch is None or hessian_batch >= len(rows)
    product = whole if every else sampled
    s = _largest(product, len(v), rng)[1] if scale is None else scale
    if not (np.isfinite(s) and s > 0.0):
        raise Incompatible(
            f"the Hessian over {len(rows)} rows has a largest absolute eigenvalue of {s}, "
            "expected a positive number: the loss has no curvature there, or is not finite"
        )
    h, taken = _recursion(product, v, damping, s, steps, tolerance if every else None, seed)
    residual = _norm(v - damping * h - whole(h) / s) / (_norm(v) or 1.0)
    return Solution(h / s, taken, residual, s, damping)


def _check(
    damping: float, scale: float | None, steps: int, hessian_batch: int | None, n_rows: int
) -> None:
    if not 0.0 < damping < 1.0:
        raise ValueError(f"damping is {damping}; expected a number between 0 and 1, e.g. 0.01")
    if scale is not None and not scale > 0.0:
        raise ValueError(f"scale is {scale}; expected a positive number, or None to measure it")
    if steps < 1:
        raise ValueError(f"steps is {steps}; expected at least 1")
    if hessian_batch is not None and hessian_batch < 1:
        raise ValueError(
            f"hessian_batch is {hessian_batch}; expected at least 1, or None for all rows"
        )
    if n_rows == 0:
        raise ValueError("no rows: a Hessian needs at least one")


def _recursion(
    product: Product,
    v: Doubles,
    damping: float,
    scale: float,
    steps: int,
    tolerance: float | None,
    seed: int,
) -> tuple[Doubles, int]:
    """The last iterate within `tolerance`; without one, the mean of the later half of them."""
    h = v.copy()
    later = np.zeros_like(v)
    half = steps // 2
    for step in range(1, steps + 1):
        residual = v - damping * h - product(h) / scale
        if tolerance is not None and _norm(residual) <= tolerance * _norm(v):
            return h, step
        h = h + residual
        if not _norm(h) <= _OVERSHOOT * _norm(v) / damping:
            raise _grows(product, len(v), damping, scale, step, seed)
        if step > half:
            later += h
    return (h if tolerance is not None else later / (steps - half)), steps


def _grows(
    product: Product, n: int, damping: float, scale: float, step: int, seed: int
) -> Incompatible:
    low, high = spectrum_edges(product, n, seed=seed)
    # Below zero only the ridge can lift an eigenvalue, and damping has to stay below 1.
    better_scale = max(high, 2.0 * max(0.0, -low))
    better_damping = max(damping, 1.2 * max(0.0, -low) / better_scale)
    return Incompatible(
        f"the inverse-Hessian recursion grows (seen at step {step}): eigenvalues reach from "
        f"about {low:.3g} to {high:.3g}, but eigenvalue / scale + damping must lie between 0 "
        f"and 2 and scale is {scale:.3g}, damping {damping:.3g}",
        hint=f"try scale={_up(better_scale)}, damping={_up(better_damping)}"
        ", or larger batches (hessian_batch=None reads all rows)",
    )


def spectrum_edges(product: Product, n: int, *, seed: int = 0) -> tuple[float, float]:
    """About the smallest and the largest eigenvalue of a symmetric n × n `product`.

    Power iteration finds the one of largest absolute value, and after subtracting that one the
    other end. Both lie inside the true range.
    """
    rng = np.random.default_rng(seed)
    first = _largest(product, n, rng)[0]
    second = _largest(lambda u: product(u) - first * u, n, rng)[0] + first
    return min(first, second), max(first, second)


def _largest(product: Product, n: int, rng: np.random.Generator) -> tuple[float, float]:
    """The Rayleigh quotient that power iteration ends with, and the largest ‖product(unit)‖."""
    u = rng.standard_normal(n)
    quotient, largest = 0.0, 0.0
    for _ in range(_POWER_STEPS):
        u /= _norm(u)
        image = product(u)
        norm = _norm(image)
        quotient, largest = float(u @ image), max(largest, norm)
        if not (np.isfinite(norm) and norm > 0.0):
            return quotient, norm
        u = image
    return quotient, largest


def _norm(v: Any) -> float:
    return float(np.linalg.norm(v))


def _up(x: float) -> str:
    """Two digits, rounded up."""
    return f"{x * 1.05:.2g}"
