"""Two small nets whose vectors are multiplied: S[i, j] = ⟨f(x_i), g(x_j)⟩ + a(x_i) + b(x_j) + c.

f and a are one net with a hidden layer of ReLU units, g and b another; b is what facility location
needs of main effects, f and g are the interaction. Factorised learned embeddings of this kind are
the usual retrieval model (Yi et al., "Sampling-bias-corrected neural modeling", RecSys 2019), here
with main effects and squared error on standardised labels.

Few labels make such nets overfit within a hundred steps, so: inputs are the leading principal
directions of the seed samples, weights decay (AdamW), and four nets are trained, each stopped where
it ranks best, row by row, a quarter of the targets × a quarter of the sources that it does not fit.
The estimator is their mean, which is again one dot product: the four vectors side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.errors import InputError
from influence_store.extras import require
from influence_store.network.features import scaling
from influence_store.network.figures import per_target, spearman
from influence_store.network.judged import Pairs
from influence_store.network.nn_cift import one_thread
from influence_store.schema.estimator import Affine, Beside, Head, PairEstimator, Relu, Tower

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from influence_store.network.features import Features
    from influence_store.network.labels import SeedPairs
    from influence_store.protocols import Gains
    from influence_store.schema.estimator import Layer

MEMBERS = 4
DIRECTIONS = 128
HIDDEN, RANK = 64, 32
LEARNING_RATE, DECAY = 3e-3, 0.3
STEPS, BATCH = 200, 1024
LOOK_EVERY, PATIENCE = 10, 8


@dataclass(frozen=True)
class _Member:
    """The layers of one net per side, vectors (rank + 2) as the dot head needs them."""

    target: tuple[Layer, ...]
    source: tuple[Layer, ...]
    steps: int


def fit(pairs: SeedPairs, features: Features, *, seed: int) -> PairEstimator:
    """Train the nets on `pairs` and lay their vectors side by side; deterministic under `seed`.

    InputError if no part of the pairs can be kept back to stop by.
    """
    seen = np.union1d(pairs.targets, pairs.sources)
    scale = scaling(features, seen)
    directions = _principal(scale(features.values[seen].astype(np.float64)))
    x = directions(scale(features.values.astype(np.float64))).astype(np.float32)
    mean, spread = float(pairs.values.mean()), float(pairs.values.std()) or 1.0
    goal = ((pairs.values - mean) / spread).astype(np.float32)

    members = [
        _train(x, pairs, goal, fitted, judged, seed=seed + number)
        for number, (fitted, judged) in enumerate(_inner_folds(pairs, seed))
    ]
    if not members:
        raise InputError(
            f"{len(pairs)} pairs leave nothing to fit when a part is kept back to stop by",
            hint="label more pairs: influence-store label … --pairs 2000",
        )
    d, width = features.values.shape[1], len(members) * (RANK + 2)
    target = Beside(tuple(member.target for member in members))
    source = Beside(tuple(member.source for member in members))
    return PairEstimator(
        network="two-tower",
        features=features.names,
        dims=features.dims,
        target_tower=Tower((scale, directions, target), d, width),
        source_tower=Tower((scale, directions, source), d, width),
        head=Head("dot", spread / len(members), mean),
        facts={
            "labels": pairs.facts(),
            "seed": seed,
            "directions": x.shape[1],
            "hidden": HIDDEN,
            "rank": RANK,
            "learning_rate": LEARNING_RATE,
            "decay": DECAY,
            "batch": BATCH,
            "steps": [member.steps for member in members],
        },
    )


def _principal(x: Gains) -> Affine:
    """Leading principal directions of rows x (n, d), scaled together to one unit of variance each.

    Where seed samples do not differ, initial weights would answer new samples with noise.
    """
    _, size, directions = np.linalg.svd(x, full_matrices=False)
    kept = int((size > 1e-6 * max(float(size[0]), 1e-12)).sum())
    kept = max(1, min(kept, DIRECTIONS))
    unit = np.sqrt(len(x) * kept / max(float((size[:kept] ** 2).sum()), 1e-12))
    weight = (directions[:kept].T * unit).astype(np.float32)
    return Affine(weight, np.zeros(kept, np.float32))


def _inner_folds(
    pairs: SeedPairs, seed: int
) -> Iterator[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """Masks of the pairs to fit and of those to stop by: neither sample of which is fitted.

    Where a sparse design has no such pair, a pair with one sample fitted must do.
    """
    rng = np.random.default_rng(seed)
    targets, row = np.unique(pairs.targets, return_inverse=True)
    sources, column = np.unique(pairs.sources, return_inverse=True)
    count = min(MEMBERS, len(targets), len(sources))
    row_group = (rng.permutation(len(targets)) % count)[row]
    column_group = (rng.permutation(len(sources)) % count)[column]
    for k in range(count):
        fitted = (row_group != k) & (column_group != k)
        unseen = (row_group == k) & (column_group == k)
        judged = unseen if unseen.any() else ~fitted
        if fitted.any() and judged.any():
            yield fitted, judged


def _train(
    x: npt.NDArray[np.float32],
    pairs: SeedPairs,
    goal: npt.NDArray[np.float32],
    fitted: npt.NDArray[np.bool_],
    judged: npt.NDArray[np.bool_],
    *,
    seed: int,
) -> _Member:
    """Both nets on the fitted pairs, as they were when they ranked the judged pairs best."""
    torch = require("torch", extra="train")
    rows, row = np.unique(pairs.targets, return_inverse=True)
    columns, column = np.unique(pairs.sources, return_inverse=True)
    x_t, x_s = torch.from_numpy(x[rows]), torch.from_numpy(x[columns])
    lesson = [torch.from_numpy(one[fitted]) for one in (row, column, goal)]
    exam = [torch.from_numpy(one[judged]) for one in (row, column)]
    truth = _judged_pairs(pairs, goal, judged)

    with torch.random.fork_rng(devices=[]), one_thread(torch):
        torch.manual_seed(seed)
        f, g = _net(torch, x.shape[1]), _net(torch, x.shape[1])
        weights = [*f.parameters(), *g.parameters()]
        optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE, weight_decay=DECAY, fused=True)
        best, taken, kept = -np.inf, 0, _layers(f, g)
        for step in range(STEPS + 1):
            if step % LOOK_EVERY == 0:
                with torch.no_grad():
                    found = _agreement(truth, _predicted(f(x_t), g(x_s), *exam).numpy())
                if found > best:
                    best, taken, kept = found, step, _layers(f, g)
                elif step - taken >= PATIENCE * LOOK_EVERY:
                    break
            some = torch.randperm(len(lesson[2]))[:BATCH]
            error = _predicted(f(x_t), g(x_s), lesson[0][some], lesson[1][some]) - lesson[2][some]
            optimizer.zero_grad()
            (error**2).mean().backward()
            optimizer.step()
    return _Member(*kept, steps=taken)


def _net(torch: Any, inputs: int) -> Any:
    """x ↦ (vector, main effect)."""
    return torch.nn.Sequential(
        torch.nn.Linear(inputs, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, RANK + 1)
    )


def _predicted(p: Any, q: Any, row: Any, column: Any) -> Any:
    """⟨f_i, g_j⟩ + a_i + b_j for the listed pairs."""
    p, q = p[row], q[column]
    return (p[:, :RANK] * q[:, :RANK]).sum(1) + p[:, RANK] + q[:, RANK]


def _judged_pairs(
    pairs: SeedPairs, goal: npt.NDArray[np.float32], judged: npt.NDArray[np.bool_]
) -> Pairs:
    asked, values = pairs.take(judged), goal[judged].astype(np.float64)
    zero = np.zeros(len(values), np.int64)
    return Pairs(values, np.zeros(len(values)), asked.targets, asked.sources, zero)


def _agreement(truth: Pairs, predicted: Any) -> float:
    """Mean Spearman of the rows; minus the squared error where no row can be ranked."""
    per_row = per_target(truth, predicted.astype(np.float64), spearman)
    return (
        float(per_row.mean()) if len(per_row) else -float(((truth.truth - predicted) ** 2).mean())
    )


def _layers(f: Any, g: Any) -> tuple[tuple[Layer, ...], tuple[Layer, ...]]:
    """⟨(f_i, a_i, 1), (g_j, 1, b_j)⟩: the constant stands after a_i and before b_j."""
    return _tower(f, RANK + 1), _tower(g, RANK)


def _tower(net: Any, constant_at: int) -> tuple[Layer, ...]:
    (w1, b1), (w2, b2) = (
        (one.weight.detach().numpy().T.copy(), one.bias.detach().numpy().copy())
        for one in (net[0], net[2])
    )
    last = Affine(np.insert(w2, constant_at, 0.0, axis=1), np.insert(b2, constant_at, 1.0))
    return Affine(w1, b1), Relu(), last
