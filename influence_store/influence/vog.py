"""VoG: does what the model looks at in a sample keep changing while it learns?

    G_k = ∂A(θ_k) / ∂E  (L, d),   A = Σ_t logit of gold token t,   μ = mean_k G_k
    vog = mean over the L·d elements of V,  V = √(1/K Σ_k (G_k − μ)²)         (arXiv 2008.11600)

A is pre-softmax and E the input embeddings of the tokens read, padding excluded. Higher = harder.
The literature has three V: the root above in the original authors' code (`reduce="std"`, our
default), 1/√K Σ (G − μ)² in the equation for language models (EMNLP 2023, `"root-k"`), and the
variance in that paper's algorithm box (`"var"`); they can rank differently. For a causal LM, A sums
over the response. Raw values are kept; `normalised` is for read time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from influence_store.influence.batch import read_all
from influence_store.influence.checkpoint_method import CheckpointMethod
from influence_store.progress import progress
from influence_store.protocols import InfluenceSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from influence_store.influence.checkpoints import Checkpoint
    from influence_store.influence.learner import Learner, Reading
    from influence_store.protocols import Doubles, Floats, PointValues
    from influence_store.schema.sample import Sample

Reduce = Literal["std", "root-k", "var"]
_CHUNK_TOKENS = 1024


class Vog(CheckpointMethod):
    """Variance of input gradients over two or more checkpoints of one run.

    Samples pass in chunks, so that the gradients held are K × 1024 tokens (or one sample) × d.
    """

    spec: ClassVar[InfluenceSpec] = InfluenceSpec(
        name="vog",
        outputs=("vog",),
        higher_means="harder",
        paper="arXiv:2008.11600",
        kind="pointwise",
        needs=("checkpoints",),
        bounds=(0.0, float("inf")),
    )

    def __init__(
        self, learner: Learner, checkpoints: Sequence[Checkpoint], *, reduce: Reduce = "std"
    ) -> None:
        if reduce not in get_args(Reduce):
            raise ValueError(f"reduce is one of {', '.join(get_args(Reduce))}, not {reduce!r}")
        super().__init__(learner, checkpoints, at_least=2, reduce=reduce)
        self.reduce = reduce

    def score(self, samples: Sequence[Sample]) -> PointValues:
        """Mean dispersion per sample; NaN where it could not be read."""
        batch = read_all(self.learner, samples)
        values: list[float] = []
        with progress("input gradients", len(batch.readings), "samples") as advance:
            for chunk in _chunks(batch.readings):
                runs = [self._input_gradients(checkpoint, chunk) for checkpoint in self.checkpoints]
                values += [
                    dispersion(np.stack(per_run), self.reduce)
                    for per_run in zip(*runs, strict=True)
                ]
                advance(len(chunk))
        return batch.values({"vog": np.array(values, np.float64)})

    def _input_gradients(self, checkpoint: Checkpoint, readings: Sequence[Reading]) -> list[Floats]:
        with self.learner.at(checkpoint):
            return list(self.learner.gold_logit_input_gradients(readings))


def dispersion(gradients: Floats, reduce: Reduce = "std") -> float:
    """Mean over elements of the spread over checkpoints; gradients (K, L, d) of one sample."""
    exact = np.asarray(gradients, np.float64)
    squares = np.square(exact - exact.mean(axis=0)).sum(axis=0)
    n = len(exact)
    per_element = {"std": np.sqrt(squares / n), "root-k": squares / np.sqrt(n), "var": squares / n}
    return float(per_element[reduce].mean())


def normalised(values: Doubles, groups: npt.NDArray[np.generic]) -> Doubles:
    """(v − μ_g) / σ_g within each group, (n,): a class or a data set; population σ.

    NaN values are left out of μ and σ and stay NaN, as does a group of equal values. Which group
    is meant changes the ranking: class- and dataset-wise normalisation can disagree.
    """
    out = np.full(len(values), np.nan)
    for name in np.unique(groups):
        rows = np.flatnonzero((groups == name) & ~np.isnan(values))
        if len(rows) and np.ptp(values[rows]) > 0.0:
            out[rows] = (values[rows] - values[rows].mean()) / values[rows].std()
    return out


def _chunks(readings: Sequence[Reading]) -> Iterator[list[Reading]]:
    chunk: list[Reading] = []
    n_tokens = 0
    for reading in readings:
        length = len(reading.context) + len(reading.gold)
        if chunk and n_tokens + length > _CHUNK_TOKENS:
            yield chunk
            chunk, n_tokens = [], 0
        chunk.append(reading)
        n_tokens += length
    if chunk:
        yield chunk
