"""Is this a pointwise influence function: one number per sample, which nothing else moves?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.protocols import PointValues
from influence_store.testing.laws import TOLERANCE, check_bounds, check_spec, demand
from influence_store.testing.rows import Rows, Subject, check_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from influence_store.schema.sample import Sample
    from influence_store.testing.laws import Make

_FORM = "answers have the form of PointValues"


def check_pointwise(
    make: Make,
    samples: Sequence[Sample],
    *,
    too_long: Sample | None = None,
    scores_empty: bool = False,
    variants: Sequence[Make] = (),
    reference: Callable[[Sample], float] | None = None,
    tolerance: float = TOLERANCE,
) -> None:
    """ConformanceError unless the objects that `make` builds keep every law.

    `too_long` is a sample that does not fit the method's model; None for a method without a limit.
    `scores_empty`: an empty response has a value on purpose. `variants` build the method with
    other settings, to see that settings that change values are facts. `reference` is a slow second
    way to the first output. ValueError for fewer than 4 or for repeated samples.
    """
    spec = check_spec(make())
    demand(spec.kind == "pointwise", "kind is pointwise", f"it is {spec.kind}")
    whole = check_rows(
        Subject(make, _measured, spec.outputs, joint=False),
        samples,
        too_long=too_long,
        scores_empty=scores_empty,
        variants=variants,
        tolerance=tolerance,
    )
    check_bounds(spec, whole.values[:, 0], spec.outputs[0])
    if reference is not None:
        _check_reference(whole, samples, reference, spec.outputs[0])


def _check_reference(
    whole: Rows, samples: Sequence[Sample], reference: Callable[[Sample], float], name: str
) -> None:
    for k, sample in enumerate(samples):
        found, expected = whole.values[k, 0], reference(sample)
        demand(
            bool(np.isclose(found, expected, rtol=1e-4, atol=1e-6, equal_nan=True)),
            "values are those of the reference",
            f"{name} of sample {k} is {found:.6g}, expected {expected:.6g}",
        )


def _measured(method: Any, samples: Sequence[Sample]) -> Rows:
    found, n = method.score(samples), len(samples)
    demand(isinstance(found, PointValues), _FORM, f"score gives a {type(found).__name__}")
    outputs = method.spec.outputs
    demand(
        set(found.values) == set(outputs),
        _FORM,
        f"score gives {sorted(found.values)}, the spec names {sorted(outputs)}",
    )
    columns = [np.asarray(found.values[name]) for name in outputs]
    for name, column in zip(outputs, columns, strict=True):
        demand(
            column.shape == (n,) and column.dtype == np.float64,
            _FORM,
            f"{name} is {column.dtype} {column.shape} for {n} samples, expected float64 ({n},)",
        )
    check_counts(found.n_tokens, found.truncated, n)
    return Rows(np.stack(columns, axis=1), found.n_tokens, found.truncated)


def check_counts(n_tokens: Any, truncated: Any, n: int) -> None:
    """`n_tokens` (n,) int64 and `truncated` (n,) bool."""
    for name, column, kind in (
        ("n_tokens", n_tokens, np.int64),
        ("truncated", truncated, np.bool_),
    ):
        array = np.asarray(column)
        demand(
            array.shape == (n,) and array.dtype == kind,
            "answers say how they were measured",
            f"{name} is {array.dtype} {array.shape} for {n} samples, "
            f"expected {np.dtype(kind)} ({n},)",
        )
