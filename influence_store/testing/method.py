"""Does an influence function conform, of whatever kind it says it is?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from influence_store.testing.bilinear import check_bilinear
from influence_store.testing.laws import check_spec
from influence_store.testing.pairwise import check_pairwise
from influence_store.testing.pointwise import check_pointwise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from influence_store.schema.sample import Sample
    from influence_store.testing.laws import Make

_CHECKS: dict[str, Callable[..., None]] = {
    "pointwise": check_pointwise,
    "bilinear": check_bilinear,
    "pairwise": check_pairwise,
}


def check_method(make: Make, samples: Sequence[Sample], **options: Any) -> None:
    """The check of the kind that the method's spec names, with that check's options."""
    _CHECKS[check_spec(make()).kind](make, samples, **options)
