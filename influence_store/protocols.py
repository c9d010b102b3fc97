"""The seams: what an embedder, an influence function, a kernel, a set function must offer.

A newcomer's second file after the README. `S[i, j]` is always the value of training on (or
showing) **source** j for **target** i; arrays of pairs are (n_targets, n_sources).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from influence_store.schema.sample import Sample

Floats = npt.NDArray[np.float32]
Gains = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]

Flags = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]

HigherMeans = Literal["helpful", "harder", "easier", "neither"]
#: What a method yields: S[i, j] itself, one number per sample, or vectors whose products are S.
Kind = Literal["pairwise", "pointwise", "bilinear"]
#: What a method is built from. Positional: `llm` (a causal LM), or `checkpoints` (a learner and
#: its checkpoints), or `embedding` (the embedder's fingerprint). By keyword: `targets` (samples to
#: be served), `fit` (samples the checkpoints were trained on), `null_checkpoints` (trained without
#: prompts), `seen` (sample ids of the training rows).
Need = Literal["llm", "checkpoints", "embedding", "targets", "fit", "null_checkpoints", "seen"]
Side = Literal["target", "source"]
S = TypeVar("S")


@dataclass
class Ledger:
    """What a producer has spent so far; the only thing about it that changes."""

    llm_passes: int = 0
    llm_tokens: int = 0
    embeddings: int = 0
    fills: int = 0

    def facts(self) -> dict[str, int]:
        """As stored with a run."""
        return dict(vars(self))


# -- embeddings ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Encoded:
    """Vectors (n, dim) in the order of the texts, and which texts were cut to the model's limit."""

    vectors: Floats
    truncated: npt.NDArray[np.bool_]


class Embedder(Protocol):
    """Text → vector. Equal fingerprints promise equal vectors for equal texts."""

    name: str
    dim: int

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything that changes a vector: weights, pooling, template, length, normalisation."""
        ...

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode; row k does not depend on the other rows of the call."""
        ...


# -- influence functions (teachers) ----------------------------------------------------------


@dataclass(frozen=True)
class InfluenceSpec:
    """What a method is. `outputs` are the columns one pass yields, best known first.

    `higher_means` speaks of the first output; `bounds` are its extremes, ±inf where open.
    """

    name: str
    outputs: tuple[str, ...]
    higher_means: HigherMeans
    paper: str
    kind: Kind = "pairwise"
    needs: tuple[Need, ...] = ("llm",)
    bounds: tuple[float, float] = (float("-inf"), float("inf"))


@dataclass(frozen=True)
class PointValues:
    """One row per sample, in the order given: values[output] is (n,), NaN where not measured.

    Why it was not: `truncated` (n,) = the sample does not fit the model; else `n_tokens` (n,),
    the tokens that were scored, is 0; else the method itself leaves the value undefined.
    """

    values: Mapping[str, Doubles]
    n_tokens: Ids
    truncated: Flags


@dataclass(frozen=True)
class PointVectors:
    """One row per sample, in the order given: vectors (n, dim), NaN rows where not measured."""

    vectors: Floats
    n_tokens: Ids
    truncated: Flags


class PointwiseInfluence(Protocol):
    """One number (per output) for each sample by itself."""

    spec: ClassVar[InfluenceSpec]

    @property
    def ledger(self) -> Ledger:
        """Real passes spent so far."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything that changes a value: model, template, checkpoints, parameters, version."""
        ...

    def score(self, samples: Sequence[Sample]) -> PointValues:
        """Measure; row k does not depend on the other rows of the call."""
        ...


class BilinearInfluence(Protocol):
    """S[i, j] = ⟨vectors(i, "target"), vectors(j, "source")⟩: vectors are kept, never pairs."""

    spec: ClassVar[InfluenceSpec]
    dim: int
    #: Whether a sample has the same vector on both sides; then it is stored once.
    symmetric: bool

    @property
    def ledger(self) -> Ledger:
        """Real passes spent so far."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything that changes a vector on either side."""
        ...

    def vectors(self, samples: Sequence[Sample], side: Side) -> PointVectors:
        """Measure; row k does not depend on the other rows of the call."""
        ...


class PairwiseInfluence(Protocol[S]):
    """Two phases: `prepare` once per target set, then `score` one source after another.

    Facts (model, template, dtype, limits …) make the fingerprint; `ledger` counts real passes.
    """

    spec: ClassVar[InfluenceSpec]

    @property
    def ledger(self) -> Ledger:
        """Real passes spent so far."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything that changes a value."""
        ...

    def prepare(self, targets: Sequence[Sample]) -> S:
        """What is needed once per target (base passes); picklable."""
        ...

    def score(self, state: S, source: Sample, targets: Ids) -> Mapping[str, Floats]:
        """Values of `source` for `targets` (positions in prepare's list), per output.

        Each array is (len(targets),); NaN where the pair could not be scored without truncation.
        """
        ...


# -- selection -------------------------------------------------------------------------------


class PairwiseView(Protocol):
    """A matrix read by blocks, never held whole unless it fits. Rows are targets."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n_targets, n_sources)."""
        ...

    def block(self, rows: Ids, cols: Ids) -> Floats:
        """The values at rows × cols, (len(rows), len(cols))."""
        ...


class SetFunction(Protocol[S]):
    """f(A) over sources 0..n-1 with f(∅) = 0. Law: gains along a path add up to value(path)."""

    n: int
    submodular: bool
    monotone: bool

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything besides the kernel that decides a value, as stored with a selection."""
        ...

    def empty(self) -> S:
        """The state that belongs to the empty set."""
        ...

    def gains(self, state: S, candidates: Ids) -> Gains:
        """f(A ∪ {j}) − f(A) for each candidate j, (len(candidates),)."""
        ...

    def add(self, state: S, item: int) -> S:
        """The state of A ∪ {item}."""
        ...

    def value(self, items: Ids) -> float:
        """f(items) from its definition: slow, the oracle of the tests."""
        ...


@dataclass(frozen=True)
class Chosen:
    """Sources in the order picked, each with its marginal gain; every prefix is a selection too.

    `left` (n,) is what each source would still add to all of them, where the optimizer knows.
    """

    items: Ids
    gains: Gains
    evaluations: int
    left: Gains | None = None


class SetOptimizer(Protocol):
    """Picks sources that make f large; ties go to the lowest position.

    `limits` is a number of sources or a `selection.limits.Limits`.
    """

    def maximize(self, function: SetFunction[Any], limits: Any) -> Chosen:
        """UsageError for limits that cannot be kept, ValueError if f does not suit."""
        ...
