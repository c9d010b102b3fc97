"""EK-FAC: influence through a curvature that is cheap to invert, layer by layer.

A linear layer maps inputs a_t (in,) to outputs with loss gradients b_t (out,); token t adds
b_t a_tᵀ to a sample's gradient G = Σ_t b_t a_tᵀ (out, in). The Gauss-Newton matrix of the layer
is approximated in a Kronecker-factored eigenbasis with measured eigenvalues (arXiv 2308.03296
§2.2 and 3.2; arXiv 1806.03884 Eq. 8):

    E[a aᵀ] = Q_A · Q_Aᵀ,   E[b bᵀ] = Q_S · Q_Sᵀ,   Λ = mean over samples of (Q_Sᵀ G Q_A)²
    W(V) = (Q_Sᵀ V Q_A) / √(Λ + λ)
    S[i, j] = Σ_layers ⟨ W(G_i), W(G_j) ⟩ = ⟨ G_i, (𝐆 + λI)⁻¹ G_j ⟩            + = j helps i

Only the eigenvectors of the two factors enter, so their scale is free. `EkFac` draws the labels
behind b from the model itself, token by token, which makes 𝐆 the Fisher matrix and no mere second
moment of gradients; it counts T times for a response of T tokens, because the loss is their mean.

Deviations: λ is a share of each layer's mean eigenvalue, a number without a unit (the paper's
heuristic is 0.1). The inverse is split evenly between the two sides, so that a sample has one
vector for both and projecting it costs ± 1/√dim of cosine; with all of the inverse on one side
that error is larger than S itself. Layers are those that the learner trains, e.g. the two factors
of a LoRA adapter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from influence_store.errors import Incompatible
from influence_store.extras import require
from influence_store.influence.batch import read_all
from influence_store.influence.checkpoint_method import CheckpointMethod
from influence_store.influence.ghost import LinearTraces
from influence_store.influence.given import identity, usable
from influence_store.influence.projection import Projection
from influence_store.progress import progress
from influence_store.protocols import InfluenceSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from influence_store.influence.checkpoints import Checkpoint
    from influence_store.influence.learner import Reading
    from influence_store.influence.torch_learner import TorchLearner
    from influence_store.protocols import Doubles, Floats, PointVectors, Side
    from influence_store.schema.sample import Sample


@dataclass(frozen=True)
class LayerRow:
    """One sample in one linear layer: `inputs` (T, in), `output_gradients` (T, out).

    A bias is a last input that is always 1. The layer's gradient is output_gradientsᵀ · inputs.
    """

    inputs: Floats | Doubles
    output_gradients: Floats | Doubles

    @property
    def gradient(self) -> Doubles:
        """G (out, in) in float64."""
        b = np.asarray(self.output_gradients, np.float64)
        return np.asarray(b.T @ np.asarray(self.inputs, np.float64), np.float64)


@dataclass(frozen=True)
class Factors:
    """Eigenvectors as columns, `basis_in` (in, in) and `basis_out` (out, out); Λ (out, in) ≥ 0."""

    basis_in: Doubles
    basis_out: Doubles
    eigenvalues: Doubles


def fit_factors(rows: Sequence[LayerRow]) -> Factors:
    """The factors of one layer over samples; ValueError without rows."""
    if not rows:
        raise ValueError("no rows: the curvature of a layer needs at least one sample")
    moments = Moments.none(rows[0])
    for row in rows:
        moments.add(row)
    basis_in, basis_out = moments.bases()
    squares = sum(rotated_square(row, basis_in, basis_out) for row in rows)
    return Factors(basis_in, basis_out, np.asarray(squares / len(rows), np.float64))


def whiten(factors: Factors, gradient: Floats | Doubles, damping: float) -> Doubles:
    """W(gradient) (out, in), λ = `damping` > 0 in the unit of Λ: products of these are S."""
    if not damping > 0.0:
        raise ValueError(f"damping is {damping}; expected more than 0, e.g. 0.1 · mean_eigenvalue")
    rotated = factors.basis_out.T @ np.asarray(gradient, np.float64) @ factors.basis_in
    return np.asarray(rotated / np.sqrt(factors.eigenvalues + damping), np.float64)


@dataclass
class Moments:
    """Running Σ a aᵀ (in, in) and Σ b bᵀ (out, out)."""

    inputs: Doubles
    slopes: Doubles

    @classmethod
    def none(cls, like: LayerRow) -> Moments:
        """Zeros of the sizes of a row's layer."""
        high, wide = like.gradient.shape
        return cls(np.zeros((wide, wide)), np.zeros((high, high)))

    def add(self, row: LayerRow) -> None:
        """Count one more sample."""
        a = np.asarray(row.inputs, np.float64)
        b = np.asarray(row.output_gradients, np.float64)
        self.inputs += a.T @ a
        self.slopes += b.T @ b

    def bases(self) -> tuple[Doubles, Doubles]:
        """Q_A and Q_S, eigenvectors as columns."""
        return np.linalg.eigh(self.inputs)[1], np.linalg.eigh(self.slopes)[1]


def rotated_square(row: LayerRow, basis_in: Doubles, basis_out: Doubles) -> Doubles:
    """(Q_Sᵀ G Q_A)² (out, in), whose mean over samples is Λ."""
    return np.asarray((basis_out.T @ row.gradient @ basis_in) ** 2, np.float64)


# -- the method ---------------------------------------------------------------------------------


class EkFac(CheckpointMethod):
    """EK-FAC at the last checkpoint, over the linear layers that a torch learner trains.

    `fit` are the rows the checkpoint was trained on; they are read twice, when the first sample
    is. `damping` is λ as a share of each layer's mean eigenvalue. Memory: (in² + out²) doubles
    per layer. Incompatible if the learner trains anything but linear layers.
    """

    spec: ClassVar[InfluenceSpec] = InfluenceSpec(
        name="ekfac",
        outputs=("ekfac",),
        higher_means="helpful",
        paper="arXiv:2308.03296",
        kind="bilinear",
        needs=("checkpoints", "fit"),
    )
    symmetric = True

    def __init__(
        self,
        learner: TorchLearner,
        checkpoints: Sequence[Checkpoint],
        *,
        fit: Sequence[Sample],
        dim: int | None = 1024,
        damping: float = 0.1,
        seed: int = 0,
    ) -> None:
        if not damping > 0.0:
            raise ValueError(f"damping is {damping}; expected more than 0, e.g. 0.1")
        traces = LinearTraces.of(learner.module, learner.trainable)
        if traces is None:
            raise Incompatible(
                f"{learner.name} trains weights that belong to no linear layer",
                hint="train a LoRA adapter on linear layers, or the classifier's head alone",
            )
        self.project = Projection(learner.n_parameters, dim, seed=seed)
        own = {"damping": damping, "seed": seed, "fit": identity(fit)}
        super().__init__(learner, checkpoints[-1:], **{**self.project.facts, **own})
        self.torch_learner = learner
        self.traces = traces
        self.fit_readings = usable(learner, fit, "fit")
        self.dim = self.project.dim
        self.damping = damping
        self.seed = seed
        self._factors: list[Factors] | None = None

    @property
    def factors(self) -> list[Factors]:
        """Per linear layer, in the module's order; fitted once."""
        if self._factors is None:
            with self.learner.at(self.checkpoints[-1]):
                self._factors = self._fit()
        return self._factors

    def vectors(self, samples: Sequence[Sample], side: Side) -> PointVectors:
        """One row (dim,) per sample, the same on either side; NaN where it could not be read."""
        batch = read_all(self.learner, samples)
        factors = self.factors
        out = np.empty((len(batch.readings), self.dim), np.float32)
        with self.learner.at(self.checkpoints[-1]), progress("gradients", len(out)) as advance:
            for k, reading in enumerate(batch.readings):
                rows = self._layers(reading, drawn_by=None)
                white = [
                    whiten(one, row.gradient, self.damping * mean_eigenvalue(one))
                    for one, row in zip(factors, rows, strict=True)
                ]
                whole = np.concatenate([one.ravel() for one in white])
                out[k] = self.project(whole.astype(np.float32))
                advance()
        return batch.vectors(out)

    def _fit(self) -> list[Factors]:
        n = len(self.fit_readings)
        with progress("curvature", 2 * n) as advance:
            moments: list[Moments] = []
            for rows in self._drawn():
                moments = moments or [Moments.none(row) for row in rows]
                for one, row in zip(moments, rows, strict=True):
                    one.add(row)
                advance()
            bases = [one.bases() for one in moments]
            squares = [np.zeros((len(q_out), len(q_in))) for q_in, q_out in bases]
            for rows in self._drawn():
                for total, row, (q_in, q_out) in zip(squares, rows, bases, strict=True):
                    total += rotated_square(row, q_in, q_out)
                advance()
        made = zip(bases, squares, strict=True)
        factors = [Factors(q_in, q_out, total / n) for (q_in, q_out), total in made]
        if not all(mean_eigenvalue(one) > 0.0 for one in factors):
            raise Incompatible(
                f"a layer of {self.learner.name} has no curvature over {n} rows to fit",
                hint="use a trained checkpoint: an adapter that starts at 0 has gradients of 0",
            )
        return factors

    def _drawn(self) -> Iterator[list[LayerRow]]:
        for k, reading in enumerate(self.fit_readings):
            yield self._layers(reading, drawn_by=np.random.default_rng([self.seed, k]))

    def _layers(self, reading: Reading, drawn_by: np.random.Generator | None) -> list[LayerRow]:
        """Each linear layer's part in a reading's loss, or in that of labels drawn by the model."""
        torch = require("torch", extra="train")
        self.torch_learner.count([reading])
        with self.traces.recording():
            out = self.torch_learner.gold_logits([reading])
        weight = 1.0
        if drawn_by is not None:
            out = replace(out, gold=_draw(out.logits, drawn_by))
            # A mean over T independent labels has 1/T of the Fisher matrix of their mean loss.
            weight = float(np.sqrt(len(reading.gold)))
        calls = self.traces.calls
        outputs = [output for _, _, output in calls]
        slopes = torch.autograd.grad(weight * out.losses.sum(), outputs, materialize_grads=True)
        return [
            _layer_row(
                layer,
                [(a, b) for (one, a, _), b in zip(calls, slopes, strict=True) if one is layer],
            )
            for layer in self.traces.layers
        ]


def mean_eigenvalue(factors: Factors) -> float:
    """Of 𝐆 in this layer; damping is measured in it."""
    return float(factors.eigenvalues.mean())


def _draw(logits: Any, rng: np.random.Generator) -> Any:
    """One label per row of logits (T, V), from softmax, by the Gumbel trick."""
    noise = rng.gumbel(size=tuple(logits.shape))
    return (logits.detach() + logits.new_tensor(noise)).argmax(dim=-1)


def _layer_row(layer: Any, calls: Sequence[tuple[Any, Any]]) -> LayerRow:
    """All tokens of one reading, over all calls of the layer."""
    inputs = np.concatenate([_tokens(a) for a, _ in calls])
    if layer.bias is not None:
        inputs = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)
    return LayerRow(inputs, np.concatenate([_tokens(b) for _, b in calls]))


def _tokens(rows: Any) -> Doubles:
    return np.asarray(rows.detach().double().cpu().numpy().reshape(-1, rows.shape[-1]), np.float64)
