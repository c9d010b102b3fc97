"""TRAK: had the source been left out of training, how would the target's margin have changed?

With p̄(z) = exp(−ℓ(z)), the geometric mean probability of the gold tokens, and a margin f per
checkpoint m (arXiv 2303.14186 §3; Φ_m are the features of the n rows of `fit`):

    f = log(p̄ / (1 − p̄)),    φ_m(z) = R ∇f = −R ∇ℓ / (1 − p̄_m)          R: projection.py
    S[i, j] = [ 1/M Σ_m φ_m(i)ᵀ (Φ_mᵀ Φ_m + λ_m I)⁻¹ φ_m(j) ] · [ 1/M Σ_m (1 − p̄_m(j)) ]

Higher = j helps i. It is bilinear: the left factor and the inverse make target vectors, the right
one with 1 − p̄ source vectors. As in the paper, the weights p (1 − p) that a Newton step would put
into the inverse are left out: ranks are kept, and S is a change of margin up to a factor.

Deviations. For one gold token (a class) f is the paper's margin; for a response the paper sums the
margins of its tokens, we take the margin of its mean token, whose gradient follows exactly from
that of the loss. λ_m = damping · the mean eigenvalue of Φ_mᵀΦ_m, a number without a unit; 0 is the
paper's. The authors' library divides the inverse by its mean, so its scale says nothing; ours does.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from influence_store.errors import Incompatible
from influence_store.influence.batch import read_all
from influence_store.influence.checkpoint_method import CheckpointMethod
from influence_store.influence.given import identity, usable
from influence_store.influence.projection import Projection
from influence_store.progress import progress
from influence_store.protocols import InfluenceSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.influence.checkpoints import Checkpoint
    from influence_store.influence.learner import Learner, Reading
    from influence_store.protocols import Doubles, Floats, PointVectors, Side
    from influence_store.schema.sample import Sample

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Features:
    """Of n samples at one checkpoint: φ (n, k) and `miss` (n,) = 1 − p̄ in [0, 1].

    A sample predicted with certainty (miss 0 in float arithmetic) has no finite φ: a NaN row.
    """

    phi: Doubles
    miss: Doubles


class Trak(CheckpointMethod):
    """TRAK over checkpoints, each projected to `dim` numbers; vectors are (n, M · dim).

    `fit` are the rows that the checkpoints were trained on; they are read once per checkpoint,
    when the first target is. ValueError if there are fewer of them than `dim` and `damping` is 0,
    which leaves nothing to invert; InputError if none can be read.
    """

    spec: ClassVar[InfluenceSpec] = InfluenceSpec(
        name="trak",
        outputs=("trak",),
        higher_means="helpful",
        paper="arXiv:2303.14186",
        kind="bilinear",
        needs=("checkpoints", "fit"),
    )
    symmetric = False

    def __init__(
        self,
        learner: Learner,
        checkpoints: Sequence[Checkpoint],
        *,
        fit: Sequence[Sample],
        dim: int | None = 512,
        damping: float = 0.1,
        seed: int = 0,
    ) -> None:
        self.project = Projection(learner.n_parameters, dim, seed=seed)
        super().__init__(
            learner, checkpoints, **self.project.facts, damping=damping, fit=identity(fit)
        )
        self.width = self.project.dim
        self.dim = len(self.checkpoints) * self.width
        self.damping = damping
        self.fit_readings = usable(learner, fit, "fit")
        _check(damping, self.width, len(self.fit_readings))
        self._inverses: list[Doubles] | None = None

    def vectors(self, samples: Sequence[Sample], side: Side) -> PointVectors:
        """One row (dim,) per sample; NaN where it could not be read or is predicted with p̄ = 1."""
        batch = read_all(self.learner, samples)
        per_checkpoint = self._features(batch.readings)
        if side == "target":
            inverses = self._fitted()
            blocks = [
                one.phi @ inverse / len(inverses)
                for one, inverse in zip(per_checkpoint, inverses, strict=True)
            ]
        else:
            miss = np.mean([one.miss for one in per_checkpoint], axis=0)
            blocks = [one.phi * miss[:, None] for one in per_checkpoint]
        rows = np.concatenate(blocks, axis=1)
        rows[np.isnan(rows).any(axis=1)] = np.nan
        return batch.vectors(rows.astype(np.float32))

    def _fitted(self) -> list[Doubles]:
        if self._inverses is None:
            per_checkpoint = self._features(self.fit_readings)
            certain = sum(int(np.sum(one.miss == 0.0)) for one in per_checkpoint)
            if certain:
                told = "%d margins of %d rows to fit are infinite (p = 1) and do not count"
                _log.warning(told, certain, len(self.fit_readings))
            self._inverses = [inverse_gram(one.phi, self.damping) for one in per_checkpoint]
        return self._inverses

    def _features(self, readings: Sequence[Reading]) -> list[Features]:
        total = len(readings) * len(self.checkpoints)
        made = []
        with progress("margin gradients", total, "passes") as advance:
            for checkpoint in self.checkpoints:
                projected = np.empty((len(readings), self.width), np.float64)
                with self.learner.at(checkpoint):
                    stats = self.learner.stats(readings)
                    for row, gradient in zip(
                        projected, self.learner.gradients(readings), strict=True
                    ):
                        row[:] = self.project(gradient)
                        advance()
                loss = np.array([-np.mean(one.logp) for one in stats], np.float64)
                made.append(margin_features(projected, loss))
        return made


def margin_features(loss_gradients: Floats | Doubles, loss: Doubles) -> Features:
    """φ and 1 − p̄ from ∇ℓ (n, k), projected or not, and ℓ (n,) in nats."""
    miss = -np.expm1(-np.asarray(loss, np.float64))
    certain = miss <= 0.0
    phi = -np.asarray(loss_gradients, np.float64) / np.where(certain, np.nan, miss)[:, None]
    return Features(phi, np.where(certain, 0.0, miss))


def inverse_gram(phi: Doubles, damping: float) -> Doubles:
    """(ΦᵀΦ + λI)⁻¹ (k, k) from Φ (n, k) without its NaN rows, λ = damping · mean eigenvalue.

    Incompatible if that matrix cannot be inverted in float64.
    """
    known = phi[~np.isnan(phi).any(axis=1)]
    eigenvalues, basis = np.linalg.eigh(known.T @ known)
    eigenvalues = eigenvalues + damping * eigenvalues.mean()
    # The gradients come in float32: what is smaller than its rounding is noise, not a direction.
    if not eigenvalues[0] > np.finfo(np.float32).eps ** 2 * eigenvalues[-1]:
        raise Incompatible(
            f"the {len(known)} margin gradients of `fit` span fewer than {phi.shape[1]} dimensions",
            hint="use damping above 0, a smaller dim, or more rows to fit",
        )
    return np.asarray((basis / eigenvalues) @ basis.T, np.float64)


def _check(damping: float, width: int, n_fit: int) -> None:
    if damping < 0.0:
        raise ValueError(f"damping is {damping}; expected 0 or more, e.g. 0.1")
    if damping == 0.0 and n_fit < width:
        raise ValueError(
            f"{n_fit} rows to fit cannot span {width} dimensions: use dim={n_fit} or less, "
            "or damping above 0, e.g. 0.1"
        )
