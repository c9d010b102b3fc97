"""How far may the truth lie from an estimate? One half width for all rows, from held-out errors.

Split conformal prediction (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World,
2005; Lei et al., JASA 2018, section 2.2), computed by the library crepes: with the absolute errors
r_1 … r_n of held-out values in ascending order,

    estimate ± r_(k),    k = ⌈(n + 1) · coverage⌉,

holds the truth of one more value with probability ≥ coverage if that value is exchangeable with
the n. We pool the errors over folds (cross-conformal, Vovk 2015), and the estimator served has
seen all labels while those judged had seen fewer: both are close to the theorem, not inside it.
So each interval says what share of held-out values it caught when calibrated without them.

What is exchangeable differs:

- A stored scalar is the mean over the panel, targets the estimator has *seen*, of a source it has
  not: Q2, one error per held-out source, truth and prediction averaged over the same targets. Q4
  would average over a third as many targets, unseen ones, and be 10 to 50 % wider.
- A pair of two unseen samples: Q4, one error per pair. Pairs share samples, so its coverage is
  measured on pairs that share no sample with those that calibrate.

A source or pair that several folds judge counts once, as first judged: copies would feign a
larger n, and a mean over folds would be the error of a committee that nobody serves.

Promised on average over rows drawn like the seed's, not for each row. Not promised: rows from
elsewhere, a seed that was not drawn at random (active labelling), the best rows by estimate (they
are chosen for their errors too), and that the teacher itself is right. Where a source has labels
for a few targets only (a column design), its error also holds the chance of which targets, and
the interval is too wide: with 9 targets a source, 97 % of unseen sources lay within 90 %. We do
not shrink it by that share of the variance: 84 to 88 % were then within. One width serves all
rows: scaled by distance to the seed, or by errors of near seed rows, it was no narrower on either
real matrix.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from influence_store import extras
from influence_store.network.intervals import ConformalInterval

if TYPE_CHECKING:
    from influence_store.network.evaluate import HeldOut
    from influence_store.protocols import Gains, Ids

COVERAGE = 0.9


def conformal_interval(
    truth: Gains, predicted: Gains, groups: Ids, *, coverage: float = COVERAGE
) -> ConformalInterval:
    """The interval from held-out `truth` and `predicted`, both (n,).

    `groups` (n,) or (n, k) are labels of what was held out together: coverage is measured with
    the values that share no label with the judged one. ValueError if shapes differ or `coverage`
    is outside (0, 1); MissingExtra without crepes.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"coverage is {coverage}, expected a share between 0 and 1")
    if truth.shape != predicted.shape or truth.ndim != 1 or len(groups) != len(truth):
        raise ValueError(
            f"truth {truth.shape}, predicted {predicted.shape} and groups {groups.shape} differ"
        )
    errors = np.abs(truth - predicted)
    return ConformalInterval(
        coverage=coverage,
        half_width=_half_width(errors, coverage),
        n_calibration=len(errors),
        measured_coverage=_measured(
            errors, groups if groups.ndim > 1 else groups[:, None], coverage
        ),
    )


def scalar_interval(
    held_out: HeldOut, name: str, *, coverage: float = COVERAGE
) -> ConformalInterval:
    """For the mean influence of an unseen source on the targets that `name` was trained on."""
    pairs, predicted = held_out.pairs["Q2"], held_out.predicted["Q2"][name]
    column, n_pairs = pairs.columns, np.bincount(pairs.columns)
    error = np.bincount(column, pairs.truth - predicted) / n_pairs
    source, fold = np.zeros((2, len(n_pairs)), np.int64)
    source[column], fold[column] = pairs.sources, pairs.folds
    _, first = np.unique(source, return_index=True)  # columns are numbered fold by fold
    return conformal_interval(error[first], np.zeros(len(first)), fold[first], coverage=coverage)


def pair_interval(held_out: HeldOut, name: str, *, coverage: float = COVERAGE) -> ConformalInterval:
    """For one S[i, j] of a target and a source that `name` has not seen."""
    pairs, predicted = held_out.pairs["Q4"], held_out.predicted["Q4"][name]
    both = np.stack([pairs.targets, pairs.sources], axis=1)
    _, first = np.unique(both, axis=0, return_index=True)
    groups = [_held_together(samples[first], pairs.folds[first]) for samples in both.T]
    return conformal_interval(
        pairs.truth[first], predicted[first], np.stack(groups, axis=1), coverage=coverage
    )


def _half_width(errors: Gains, coverage: float) -> float | None:
    """The k-th smallest error; None where k > n."""
    if not len(errors):
        return None
    with warnings.catch_warnings():  # crepes changes the filters of the whole process
        crepes = extras.require("crepes", extra="train")
        warnings.simplefilter("ignore", UserWarning)  # too few values: infinite, told as None
        regressor = crepes.ConformalRegressor().fit(errors)
        # 1 − 0.9 is a little less than 0.1 in binary, which would cost a value where n + 1 is a
        # multiple of 10.
        low, high = regressor.predict_int(np.zeros(1), confidence=coverage - 1e-12)[0]
    return float(high - low) / 2 if np.isfinite(high) else None


def _measured(errors: Gains, groups: Ids, coverage: float) -> float | None:
    """Share of `errors` within the half width of those with no label in common."""
    caught, judged = 0, 0
    for labels in np.unique(groups, axis=0):
        own = (groups == labels).all(axis=1)
        others = (groups != labels).all(axis=1)
        half_width = _half_width(errors[others], coverage)
        if half_width is not None:
            caught += int((errors[own] <= half_width).sum())
            judged += int(own.sum())
    return caught / judged if judged else None


def _held_together(samples: Ids, folds: Ids) -> Ids:
    """For each pair the number of the group that its sample was held back with, (n_pairs,).

    Folds that judge a sample in common held back the same group.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    _, sample = np.unique(samples, return_inverse=True)
    n_folds = int(folds.max(initial=-1)) + 1
    size = n_folds + int(sample.max(initial=-1)) + 1
    links = coo_matrix((np.ones(len(sample)), (folds, n_folds + sample)), (size, size))
    group: Ids = connected_components(links, directed=False)[1][folds]
    return group
