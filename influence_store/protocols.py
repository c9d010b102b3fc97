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

HigherMeans = Literal["helpful", "harder", "neither"]
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
    """What a method is. `outputs` are the columns one pass yields, best known first."""

    name: str
    outputs: tuple[str, ...]
    higher_means: HigherMeans
    paper: str


class PairwiseInfluence(Protocol[S]):
    """Two phases: `prepare` once per target set, then `score` one source after another.

    Facts (model, template, dtype, limits …) make the fingerprint; `ledger` counts real passes.
    """

    spec: ClassVar[InfluenceSpec]
    ledger: Ledger

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
    """Sources in the order picked, each with its marginal gain; every prefix is a selection too."""

    items: Ids
    gains: Gains
    evaluations: int


class SetOptimizer(Protocol):
    """Picks `budget` sources that make f large; ties go to the lowest position."""

    def maximize(self, function: SetFunction[Any], budget: int) -> Chosen:
        """ValueError if budget is outside 0..n or f lacks a property the optimizer relies on."""
        ...
