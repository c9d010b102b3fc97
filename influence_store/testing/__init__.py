"""Does an influence function, or an embedder, keep its promises? Checks for your own tests.

    from influence_store.testing import check_method

    def test_my_method_conforms():
        check_method(MyMethod, samples)

`samples` are about ten different ones that the method can score. The checks ask the method over
and over, so give it a small model. A ConformanceError names the law that is broken, the sample,
what was found and what was expected. `check_embedder(make)` asks an embedder the same way.
"""

from __future__ import annotations

from influence_store.testing.bilinear import check_bilinear
from influence_store.testing.embedder import check_embedder
from influence_store.testing.laws import ConformanceError, check_facts, check_spec
from influence_store.testing.method import check_method
from influence_store.testing.pairwise import check_pairwise
from influence_store.testing.pointwise import check_pointwise

__all__ = [
    "ConformanceError",
    "check_bilinear",
    "check_embedder",
    "check_facts",
    "check_method",
    "check_pairwise",
    "check_pointwise",
    "check_spec",
]
