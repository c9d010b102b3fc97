"""DEALRec: what would the held-out risk lose with this sample, and how hard is it to learn?

With θ the last checkpoint, H = ∇² of the mean loss over the n rows of `fit`, and R the mean loss
over the held-out `targets` (arXiv 2401.17197 §3):

    dealrec-influence   I_s = (1/n) ∇L(s)ᵀ (H + ridge I)⁻¹ ∇R     nats; > 0: removing s raises R
    dealrec-effort      δ_s = ‖∇L(s)‖₂                            ≥ 0; higher = harder

H is symmetric, so (H + ridge I)⁻¹ ∇R is found once and serves every sample.

Deviations. R is held out: at an unpenalised minimum the gradient of the training risk, which the
paper takes, is 0 and every I with it. The factor 1/n, a free constant there, makes I the
first-order change of R. The paper takes I from a small recommender and δ from an LLM; here one
learner gives both: an encoder classifier or a small LM with an adapter is the surrogate. The
paper's score, `combined`, depends on the whole set, so it is made when values are read.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from influence_store.influence.batch import read_all
from influence_store.influence.checkpoint_method import CheckpointMethod
from influence_store.influence.given import identity, usable
from influence_store.influence.inverse_hessian import Solution, inverse_hessian_product
from influence_store.progress import progress
from influence_store.protocols import InfluenceSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.influence.checkpoints import Checkpoint
    from influence_store.influence.learner import Learner, Reading
    from influence_store.protocols import Doubles, PointValues
    from influence_store.schema.sample import Sample

_log = logging.getLogger(__name__)


class DealRec(CheckpointMethod):
    """Influence on the risk over `targets`, and effort, at the last checkpoint.

    `damping`, `scale`, `steps`, `hessian_batch`, `tolerance`, `seed` are those of
    `inverse_hessian_product`, which is run when the first sample is scored; `solution` tells how
    it went. A classifier's head has a convex loss and needs no care. The loss of an LM also curves
    downwards, by more than the default damping lifts: then Incompatible names a scale and damping
    that do. InputError if none of `targets` or of `fit` can be read.
    """

    spec: ClassVar[InfluenceSpec] = InfluenceSpec(
        name="dealrec",
        outputs=("dealrec-influence", "dealrec-effort"),
        higher_means="helpful",
        paper="arXiv:2401.17197",
        kind="pointwise",
        needs=("checkpoints", "targets", "fit"),
    )

    def __init__(
        self,
        learner: Learner,
        checkpoints: Sequence[Checkpoint],
        *,
        targets: Sequence[Sample],
        fit: Sequence[Sample],
        damping: float = 0.01,
        scale: float | None = None,
        steps: int = 500,
        hessian_batch: int | None = None,
        tolerance: float = 1e-3,
        seed: int = 0,
    ) -> None:
        self.target_readings = usable(learner, targets, "targets")
        self.fit_readings = usable(learner, fit, "fit")
        self.solver: dict[str, Any] = {
            "damping": damping,
            "scale": scale,
            "steps": steps,
            "hessian_batch": hessian_batch,
            "tolerance": tolerance,
            "seed": seed,
        }
        served: dict[str, Any] = {"targets": identity(targets), "fit": identity(fit)}
        super().__init__(learner, checkpoints[-1:], **self.solver, **served)
        self._solution: Solution | None = None

    @property
    def solution(self) -> Solution:
        """(H + ridge I)⁻¹ ∇R, found once."""
        if self._solution is None:
            with self.learner.at(self.checkpoints[-1]):
                self._solution = inverse_hessian_product(
                    self.learner.hessian_product,
                    self.fit_readings,
                    mean_gradient(self.learner, self.target_readings).astype(np.float32),
                    **self.solver,
                )
            _report(self._solution)
        return self._solution

    def score(self, samples: Sequence[Sample]) -> PointValues:
        """Influence and effort per sample; NaN where it could not be read."""
        batch = read_all(self.learner, samples)
        influence = np.empty(len(batch.readings), np.float64)
        effort = np.empty(len(batch.readings), np.float64)
        direction = self.solution.vector / len(self.fit_readings)
        with (
            self.learner.at(self.checkpoints[-1]),
            progress("gradients", len(influence), "samples") as advance,
        ):
            for k, gradient in enumerate(self.learner.gradients(batch.readings)):
                g = gradient.astype(np.float64)
                influence[k] = g @ direction
                effort[k] = np.linalg.norm(g)
                advance()
        return batch.values({"dealrec-influence": influence, "dealrec-effort": effort})


def combined(influence: Doubles, effort: Doubles, weight: float = 1.0) -> Doubles:
    """The paper's score minmax(I) + weight · minmax(δ) (n,), in [0, 1 + weight]; higher = keep.

    It is relative to the set it is given. NaN stays NaN and is left out of the extremes; where
    all values are equal their share is 0. The paper uses weights of 0.1 to 2.
    """
    return _minmax(influence) + weight * _minmax(effort)


def mean_gradient(learner: Learner, readings: Sequence[Reading]) -> Doubles:
    """∇ of the mean loss over `readings` (n_parameters,), one gradient in memory at a time."""
    total = np.zeros(learner.n_parameters, np.float64)
    for gradient in learner.gradients(readings):
        total += gradient
    return total / len(readings)


def _report(found: Solution) -> None:
    told = "inverse Hessian: %d products, residual %.2g, scale %.3g, ridge %.3g"
    figures = (found.steps, found.residual, found.scale, found.ridge)
    level = logging.INFO if found.residual <= 0.1 else logging.WARNING
    _log.log(level, told, *figures)


def _minmax(values: Doubles) -> Doubles:
    low = np.fmin.reduce(values, initial=np.inf)
    high = np.fmax.reduce(values, initial=-np.inf)
    return np.asarray((values - low) / (high - low if high > low else 1.0), np.float64)
