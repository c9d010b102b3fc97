"""A trained estimator as plain numbers: towers and a head.

    pairs:   p_i = target_tower(x_i)      q_j = source_tower(x_j)      S[i, j] ≈ head(p_i, q_j)
    scores:  u_i = tower(x_i)             s_i ≈ head(u_i)

Every pair estimator of the package is separable in this way, so a pair costs O(h) once the vectors
are stored. The training code produces this form, the ONNX exporter writes it, and the forward
functions here (numpy, float64 inside) are the reference both are tested against.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping

Floats = npt.NDArray[np.float32]

#: Say in an ONNX file which kind of estimator it holds.
ONNX_FORMAT = "influence-store.pair-estimator/1"
SCORE_FORMAT = "influence-store.score-estimator/1"


@dataclass(frozen=True)
class Affine:
    """x ↦ x W + b; `weight` (d_in, d_out), `bias` (d_out,)."""

    weight: Floats
    bias: Floats

    def __call__(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(n, d_in) → (n, d_out)."""
        return x @ self.weight.astype(np.float64) + self.bias


@dataclass(frozen=True)
class Scale:
    """x ↦ x ∘ w + b, column by column; `weight` and `bias` (d,)."""

    weight: Floats
    bias: Floats

    def __call__(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(n, d) → (n, d)."""
        return x * self.weight.astype(np.float64) + self.bias


@dataclass(frozen=True)
class Unit:
    """x ↦ x / ‖x‖ over the columns `start:stop`; other columns pass unchanged."""

    start: int
    stop: int

    def __call__(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(n, d) → (n, d)."""
        out = np.array(x)
        part = out[:, self.start : self.stop]
        out[:, self.start : self.stop] = part / np.maximum(
            np.linalg.norm(part, axis=1, keepdims=True), 1e-12
        )
        return out


@dataclass(frozen=True)
class RadialBasis:
    """x ↦ exp(−γ ‖x − c_k‖²) for each centre; `centres` (k, d), γ > 0."""

    centres: Floats
    gamma: float

    def __call__(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(n, d) → (n, k)."""
        c = self.centres.astype(np.float64)
        squared = (x**2).sum(1)[:, None] - 2 * (x @ c.T) + (c**2).sum(1)[None, :]
        out: npt.NDArray[Any] = np.exp(-self.gamma * np.maximum(squared, 0.0))
        return out


@dataclass(frozen=True)
class Relu:
    """x ↦ max(x, 0)."""

    def __call__(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(n, d) → (n, d)."""
        out: npt.NDArray[Any] = np.maximum(x, 0.0)
        return out


@dataclass(frozen=True)
class Softmax:
    """x ↦ exp(x_k) / Σ_l exp(x_l): each row becomes weights that sum to 1."""

    def __call__(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(n, d) → (n, d)."""
        raised = np.exp(x - x.max(axis=1, keepdims=True))
        out: npt.NDArray[Any] = raised / raised.sum(axis=1, keepdims=True)
        return out


@dataclass(frozen=True)
class Columns:
    """x ↦ the columns `start:stop` of x."""

    start: int
    stop: int

    def __call__(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(n, d) → (n, stop − start)."""
        return x[:, self.start : self.stop]


@dataclass(frozen=True)
class Beside:
    """x ↦ [part₁(x), part₂(x), …]: each part is layers in order, results joined as columns."""

    parts: tuple[tuple[Layer, ...], ...]

    def __call__(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(n, d) → (n, Σ widths of the parts)."""
        return np.concatenate([through(layers, x) for layers in self.parts], axis=1)


Layer = Scale | Affine | Unit | RadialBasis | Relu | Softmax | Columns | Beside


def through(layers: tuple[Layer, ...], x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`x` (n, d) through layers in order."""
    for layer in layers:
        x = layer(x)
    return x


@dataclass(frozen=True)
class Tower:
    """Layers applied in order; maps features (n, d) to vectors (n, h)."""

    layers: tuple[Layer, ...]
    d_in: int
    d_out: int

    def __call__(self, features: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """(n, d_in) → (n, d_out), float64."""
        out: npt.NDArray[np.float64] = through(self.layers, np.asarray(features, np.float64))
        return out


@dataclass(frozen=True)
class Head:
    """Pairs from vectors.

    `dot`:  S = scale · ⟨p_i, q_j⟩ + offset
    `relu`: S = scale · Σ_k w_k max(p_ik + q_jk, 0) + offset   (the InfluenceNetwork, separated)
    """

    kind: Literal["dot", "relu"]
    scale: float = 1.0
    offset: float = 0.0
    weight: Floats = field(default_factory=lambda: np.zeros(0, np.float32))

    def __call__(
        self, targets: npt.NDArray[Any], sources: npt.NDArray[Any]
    ) -> npt.NDArray[np.float64]:
        """(r, h), (c, h) → (r, c). The relu kind holds r·c·h numbers: call it on tiles."""
        p, q = np.asarray(targets, np.float64), np.asarray(sources, np.float64)
        if self.kind == "dot":
            raw = p @ q.T
        else:
            raw = np.maximum(p[:, None, :] + q[None, :, :], 0.0) @ self.weight.astype(np.float64)
        return self.scale * raw + self.offset


@dataclass(frozen=True)
class PairEstimator:
    """What `train` returns and `exporters/onnx.py` writes.

    `network` is the registry name; `features` the ordered column blocks it reads (for example
    `embedding`, `lengths`) and `dims` their widths; `facts` all settings, seeds and label
    statistics. Towers read the blocks raw: all scaling is a layer of theirs.
    """

    network: str
    features: tuple[str, ...]
    dims: tuple[int, ...]
    target_tower: Tower
    source_tower: Tower
    head: Head
    facts: Mapping[str, Any]

    def __post_init__(self) -> None:
        width = sum(self.dims)
        if not (len(self.dims) == len(self.features) and width == self.target_tower.d_in):
            raise ValueError(f"features {self.features} of {self.dims} do not fill the towers")

    @property
    def width(self) -> int:
        """Length of the vectors that are stored for a sample."""
        return self.target_tower.d_out

    def predict(
        self, target_features: npt.NDArray[Any], source_features: npt.NDArray[Any]
    ) -> npt.NDArray[np.float64]:
        """S (n_targets, n_sources) from features, in tiles of 256 sources."""
        p, q = self.target_tower(target_features), self.source_tower(source_features)
        tiles = [self.head(p, q[k : k + 256]) for k in range(0, len(q), 256)]
        return np.concatenate(tiles, axis=1) if tiles else np.zeros((len(p), 0))


@dataclass(frozen=True)
class ScoreHead:
    """One value per sample from the tower's number u.

    `affine`:    s = scale · u + offset
    `quantiles`: s = Q(u), the quantile function of the labels through `quantiles` (k,) at evenly
                 spaced levels 0 … 1, straight between them; u outside [0, 1] counts as the end.
    """

    kind: Literal["affine", "quantiles"]
    scale: float = 1.0
    offset: float = 0.0
    quantiles: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def __call__(self, u: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """(n,) → (n,), float64."""
        u = np.asarray(u, np.float64)
        if self.kind == "affine":
            return self.scale * u + self.offset
        levels = np.linspace(0.0, 1.0, len(self.quantiles))
        out: npt.NDArray[np.float64] = np.interp(u, levels, self.quantiles)
        return out


@dataclass(frozen=True)
class ScoreEstimator:
    """One number per sample: the student of a pointwise teacher, fields as in PairEstimator.

    The tower has one output; where the head is `quantiles` it is a rank in the labels, 0 … 1.
    """

    network: str
    features: tuple[str, ...]
    dims: tuple[int, ...]
    tower: Tower
    head: ScoreHead
    facts: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not (len(self.dims) == len(self.features) and sum(self.dims) == self.tower.d_in):
            raise ValueError(f"features {self.features} of {self.dims} do not fill the tower")
        if self.tower.d_out != 1:
            raise ValueError(f"the tower has {self.tower.d_out} outputs, expected 1")

    @property
    def width(self) -> int:
        """Length of the vectors that are stored for a sample: a score needs none."""
        return 0

    def predict(self, features: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Scores (n,) of feature rows (n, d), in the teacher's own units."""
        return self.head(self.tower(features)[:, 0])
