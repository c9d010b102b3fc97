"""DELIFT(SE): cosine of two embeddings, as one vector per sample; no LLM, no pairs to store.

S[i, j] = ⟨e_i / ‖e_i‖, e_j / ‖e_j‖⟩ in [−1, 1], symmetric; higher = closer, read as helpful
(arXiv 2411.04425 §4). The release rescales to (1 + cos) / 2 and then min-max; raw values are kept
here, because a rescaling by the extremes of one matrix cannot be compared with another's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from influence_store.protocols import InfluenceSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.protocols import Floats


class DeliftSe:
    """A bilinear method: S = vectors(targets) @ vectors(sources).T."""

    spec: ClassVar[InfluenceSpec] = InfluenceSpec(
        name="delift-se",
        outputs=("delift-se",),
        higher_means="helpful",
        paper="arXiv:2411.04425",
        kind="bilinear",
        needs=("embedding",),
        bounds=(-1.0, 1.0),
    )

    def __init__(self, embedder_fingerprint: str) -> None:
        self.embedder_fingerprint = embedder_fingerprint

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything that changes a value: the embeddings alone."""
        return {"method": self.spec.name, "version": 1, "embedder": self.embedder_fingerprint}

    def vectors(self, embeddings: Floats) -> Floats:
        """Unit rows (n, d) of embeddings (n, d); NaN for a zero vector, which has no direction."""
        exact = np.asarray(embeddings, np.float64)
        norms = np.linalg.norm(exact, axis=1, keepdims=True)
        return (exact / np.where(norms > 0.0, norms, np.nan)).astype(np.float32)
