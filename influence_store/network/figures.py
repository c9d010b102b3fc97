"""How close are predicted pair values to labels? Error, rank and structure, on a list of pairs.

A target's figure is the mean over its rows (see `judged`). Rank correlation with a prediction that
has no order (all equal) counts as 0; a row of equal labels is left out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.network.selection_gain import SetGain, set_gains

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from influence_store.network.judged import Pairs
    from influence_store.protocols import Gains

TOP_K = (1, 3, 5, 10)


@dataclass(frozen=True)
class TopK:
    """Share of a row's k best sources that are among the k predicted best, and that of a guess."""

    k: int
    overlap: float
    chance: float
    rows: int


@dataclass(frozen=True)
class Figures:
    """One predictor on one set of pairs. R² is against the fitted labels' mean.

    `interaction_r2` is R² after removing row and column effects from labels and predictions, None
    where the labels have nothing left. `additivity` is the share of variance that row + column
    effects explain: 1 means that all rows rank sources alike. Ranks: 1 is the same order.
    """

    pairs: int
    mse: float
    mae: float
    r2: float
    interaction_r2: float | None
    additivity: float
    label_additivity: float
    spearman_per_target: float | None
    kendall_per_target: float | None
    ranked_targets: int
    spearman_pooled: float
    spearman_columns: float
    top_k: tuple[TopK, ...]
    selection: tuple[SetGain, ...]
    calibration_slope: float | None
    calibration_intercept: float | None

    def facts(self) -> dict[str, Any]:
        """As stored; JSON-able."""
        return asdict(self)

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Figures:
        """The figures whose `facts` these are."""
        top_k = tuple(TopK(**one) for one in facts["top_k"])
        selection = tuple(SetGain(**one) for one in facts["selection"])
        return cls(**{**facts, "top_k": top_k, "selection": selection})


def figures(pairs: Pairs, predicted: Gains) -> Figures:
    """All figures of one predictor; `predicted` is (p,) beside `pairs`."""
    error = pairs.truth - predicted
    rho = per_target(pairs, predicted, spearman)
    tau = per_target(pairs, predicted, kendall)
    truth_rest, label_additivity = without_effects(pairs, pairs.truth)
    predicted_rest, additivity = without_effects(pairs, predicted)
    slope, intercept = calibration(pairs.truth, predicted)
    return Figures(
        pairs=len(error),
        mse=float((error**2).mean()),
        mae=float(np.abs(error).mean()),
        r2=r_squared(pairs, predicted),
        interaction_r2=_interaction_r2(pairs, truth_rest, predicted_rest),
        additivity=additivity,
        label_additivity=label_additivity,
        spearman_per_target=float(rho.mean()) if len(rho) else None,
        kendall_per_target=float(tau.mean()) if len(tau) else None,
        ranked_targets=len(rho),
        spearman_pooled=_one_row(pairs.truth, predicted),
        spearman_columns=_one_row(*_column_means(pairs, predicted)),
        top_k=tuple(top for k in TOP_K if (top := top_k(pairs, predicted, k)).rows),
        selection=set_gains(pairs, predicted),
        calibration_slope=slope,
        calibration_intercept=intercept,
    )


def r_squared(pairs: Pairs, predicted: Gains) -> float:
    """1 − MSE / MSE of the fitted mean; 0 where the labels equal that mean (nothing to explain)."""
    scale = float(((pairs.truth - pairs.baseline) ** 2).sum())
    return 1.0 - float(((pairs.truth - predicted) ** 2).sum()) / scale if scale > 0 else 0.0


def per_target(pairs: Pairs, predicted: Gains, rank: Callable[[Gains, Gains], Gains]) -> Gains:
    """`rank(truth, predicted)` over the sources of each target that can be ranked, (n_ranked,)."""
    batches = list(pairs.ranked_rows())
    if not batches:
        return np.zeros(0)
    targets = np.concatenate([pairs.targets[at[:, 0]] for at in batches])
    values = np.concatenate([rank(pairs.truth[at], predicted[at]) for at in batches])
    _, number = np.unique(targets, return_inverse=True)
    means: Gains = np.bincount(number, values) / np.bincount(number)
    return means


def spearman(truth: Gains, predicted: Gains) -> Gains:
    """Pearson correlation of average ranks, row by row: (r, k), (r, k) → (r,)."""
    from scipy.stats import rankdata  # half a second, which who only reads figures need not pay

    middle = (truth.shape[1] + 1) / 2
    a, b = rankdata(truth, axis=1) - middle, rankdata(predicted, axis=1) - middle
    size = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    found: Gains = np.where(size > 0, (a * b).sum(1) / np.where(size > 0, size, 1.0), 0.0)
    return found


def kendall(truth: Gains, predicted: Gains) -> Gains:
    """Kendall's τ-b, row by row: (r, k), (r, k) → (r,)."""
    found = np.zeros(len(truth))
    for row, (a, b) in enumerate(zip(truth, predicted, strict=True)):
        sign_a, sign_b = np.sign(a[:, None] - a), np.sign(b[:, None] - b)
        size = float(np.sqrt(np.vdot(sign_a, sign_a) * np.vdot(sign_b, sign_b)))
        found[row] = np.vdot(sign_a, sign_b) / size if size > 0 else 0.0
    return found


def without_effects(pairs: Pairs, values: Gains) -> tuple[Gains, float]:
    """What least-squares row and column effects leave of `values`, and the R² of those effects.

    On a complete block this is double centring. R² of equal values is 1: no row differs.
    """
    from scipy.sparse import csr_matrix
    from scipy.sparse.linalg import lsqr

    row, column, p = pairs.rows, pairs.columns, len(values)
    design = csr_matrix(
        (np.ones(2 * p), (np.tile(np.arange(p), 2), np.concatenate([row, row.max() + 1 + column])))
    )
    centred = values - values.mean()
    total = float(centred @ centred)
    if total <= 1e-18 * max(1.0, float(values @ values)):
        return np.zeros(p), 1.0
    rest: Gains = centred - design @ lsqr(design, centred, atol=1e-12, btol=1e-12)[0]
    return rest, 1.0 - float(rest @ rest) / total


def top_k(pairs: Pairs, predicted: Gains, k: int) -> TopK:
    """Mean over rows with more than k labels. Ties share the last places equally."""
    batches = [at for at in pairs.ranked_rows() if at.shape[1] > k]
    if not batches:
        return TopK(k, 0.0, 0.0, 0)
    shares = [
        (_places(pairs.truth[at], k) * _places(predicted[at], k)).sum(1) / k for at in batches
    ]
    chances = [np.full(len(at), k / at.shape[1]) for at in batches]
    overlap, chance = (float(np.concatenate(parts).mean()) for parts in (shares, chances))
    return TopK(k, overlap, chance, sum(map(len, batches)))


def calibration(truth: Gains, predicted: Gains) -> tuple[float | None, float | None]:
    """Slope and intercept of truth on prediction; (1, 0) is calibrated, None if undefined."""
    centred = predicted - predicted.mean()
    spread = float(centred @ centred)
    if spread <= 1e-18 * max(1.0, float(predicted @ predicted)):
        return None, None
    slope = float(centred @ truth) / spread
    return slope, float(truth.mean() - slope * predicted.mean())


def _interaction_r2(pairs: Pairs, truth_rest: Gains, predicted_rest: Gains) -> float | None:
    scale = float(truth_rest @ truth_rest)
    total = float(((pairs.truth - pairs.truth.mean()) ** 2).sum())
    if scale <= 1e-9 * total:
        return None
    return 1.0 - float(((truth_rest - predicted_rest) ** 2).sum()) / scale


def _column_means(pairs: Pairs, predicted: Gains) -> tuple[Gains, Gains]:
    column = pairs.columns
    count = np.bincount(column)
    return np.bincount(column, pairs.truth) / count, np.bincount(column, predicted) / count


def _places(values: Gains, k: int) -> Gains:
    """1 for the k greatest of each row, 0 for others; values tied at the border share the rest."""
    border = np.sort(values, axis=1)[:, -k][:, None]
    above, tied = values > border, values == border
    left = k - above.sum(1, keepdims=True)
    places: Gains = above + tied * (left / tied.sum(1, keepdims=True))
    return places


def _one_row(truth: Gains, predicted: Gains) -> float:
    return float(spearman(truth[None], predicted[None])[0])
