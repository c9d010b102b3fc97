"""Is this a bilinear influence function: vectors whose products are S[target, source]?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.protocols import PointVectors
from influence_store.testing.laws import TOLERANCE, check_bounds, check_spec, demand
from influence_store.testing.pointwise import check_counts
from influence_store.testing.rows import Rows, Subject, check_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from influence_store.protocols import Doubles, Side
    from influence_store.schema.sample import Sample
    from influence_store.testing.laws import Make

_FORM = "answers have the form of PointVectors"


def check_bilinear(
    make: Make,
    samples: Sequence[Sample],
    *,
    too_long: Sample | None = None,
    scores_empty: bool = False,
    variants: Sequence[Make] = (),
    reference: Callable[[Sample, Sample], float] | None = None,
    tolerance: float = TOLERANCE,
) -> None:
    """ConformanceError unless the objects that `make` builds keep every law, on both sides.

    As `check_pointwise`; `reference(target, source)` is a slow second way to one product. Only
    with it can sides that were swapped be told from sides that were not.
    """
    method = make()
    spec = check_spec(method)
    demand(spec.kind == "bilinear", "kind is bilinear", f"it is {spec.kind}")
    sides: dict[Side, Doubles] = {}
    for side in _SIDES[:1] if method.symmetric else _SIDES:
        whole = check_rows(
            Subject(make, _measured(side), (), joint=True),
            samples,
            too_long=too_long,
            scores_empty=scores_empty,
            variants=variants,
            tolerance=tolerance,
        )
        sides[side] = whole.values
    source = sides["source"]
    target = sides.get("target", _measured("target")(method, samples).values)
    if method.symmetric:
        demand(
            np.allclose(target, source, rtol=1e-4, atol=1e-6, equal_nan=True),
            "a symmetric method has one vector per sample",
            f"the sides differ in sample {_first_difference(target, source)}",
        )
    products = target[: len(samples) // 2] @ source.T
    check_bounds(spec, products, "a product of target and source vector")
    if reference is not None:
        _check_reference(products, samples, reference)


_SIDES: tuple[Side, ...] = ("source", "target")


def _check_reference(
    products: Doubles, samples: Sequence[Sample], reference: Callable[[Sample, Sample], float]
) -> None:
    """`products` has fewer rows than columns, so a transposed one could not pass unseen."""
    for (i, j), found in np.ndenumerate(products):
        expected = reference(samples[i], samples[j])
        demand(
            bool(np.isclose(found, expected, rtol=1e-4, atol=1e-6, equal_nan=True)),
            "S[target, source] is that of the reference",
            f"S[{i}, {j}] is {found:.6g}, expected {expected:.6g}",
        )


def _first_difference(one: Doubles, other: Doubles) -> int:
    return int(np.argmax(~np.isclose(one, other, rtol=1e-4, atol=1e-6, equal_nan=True).all(axis=1)))


def _measured(side: Side) -> Callable[[Any, Sequence[Sample]], Rows]:
    def measure(method: Any, samples: Sequence[Sample]) -> Rows:
        found, shape = method.vectors(samples, side), (len(samples), method.dim)
        demand(isinstance(found, PointVectors), _FORM, f"vectors gives a {type(found).__name__}")
        vectors = np.asarray(found.vectors)
        demand(
            vectors.shape == shape and vectors.dtype == np.float32,
            _FORM,
            f"{side} vectors are {vectors.dtype} {vectors.shape}, expected float32 {shape}",
        )
        broken = np.flatnonzero(np.isnan(vectors).any(axis=1) & ~np.isnan(vectors).all(axis=1))
        demand(not len(broken), _FORM, f"{side} vector {broken[:1]} is NaN in part, expected whole")
        check_counts(found.n_tokens, found.truncated, len(samples))
        return Rows(vectors.astype(np.float64), found.n_tokens, found.truncated)

    return measure
