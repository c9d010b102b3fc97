"""Which estimator do these labels support? Fit all, judge on samples kept back, refit the best."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from influence_store.counted import counted
from influence_store.errors import InputError
from influence_store.network import NETWORKS
from influence_store.network.card import AccuracyCard
from influence_store.network.conformal import pair_interval, scalar_interval
from influence_store.network.evaluate import HeldOut, cards, predict_held_out
from influence_store.network.judged import Pairs
from influence_store.network.labels import Fold, SeedPairs, folds
from influence_store.network.selection_gain import SHARES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from influence_store.network.evaluate import Fit
    from influence_store.network.features import Features
    from influence_store.protocols import Gains
    from influence_store.schema.estimator import PairEstimator

ADDITIVE = "additive-ridge"
#: Share of the variance of held-out labels that row + column effects explain.
NEARLY_ADDITIVE = 0.95
BASELINES = ("mean", "cosine", ADDITIVE)
DEFAULT_NETWORKS = ("ridge-and-cosine",)
#: Judged beside the others, never chosen unasked. They rank as well, but the sets they pick from a
#: large pool lack diversity, which a small seed cannot show (docs/accuracy.md).
REFERENCES = ("residual-on-cosine", "two-step-kernel-ridge", "nn-cift")
#: Few labels are kept back in several ways, until about this many pairs have been judged.
JUDGED_PAIRS, MAX_REPEATS = 5000, 5
MIN_TARGETS = 8


@dataclass(frozen=True)
class Trained:
    """The winner refitted on all labels, its card, every candidate's card, and the evidence.

    The cards speak about fits without the kept-back samples; the refit has seen more.
    """

    estimator: PairEstimator
    card: AccuracyCard
    cards: Mapping[str, AccuracyCard]
    held_out: HeldOut


def train(
    labels: SeedPairs,
    features: Features,
    *,
    networks: Sequence[str] = (),
    more: Mapping[str, Fit] | None = None,
    seed: int,
) -> Trained:
    """Choose among `networks`, `more` and the baselines by what they say of unseen pairs (Q4).

    Criteria are Spearman per target and selection gain, see `choose`; the first in the registry's
    order that is within one standard error of the best wins, so a baseline can win. Without
    `networks` the candidates are DEFAULT_NETWORKS, and REFERENCES are judged too. `more` are fits
    that know something else than labels, e.g. a teacher's vectors; they come after all others.
    InputError before any training if the labels cannot teach or cannot judge.
    """
    candidates = _in_order([*BASELINES, *(networks or DEFAULT_NETWORKS)])
    references = [] if networks else [name for name in REFERENCES if name not in candidates]
    fits: dict[str, Fit] = {name: NETWORKS.get(name) for name in candidates}
    fits.update(more or {})
    candidates = list(fits)
    fits.update({name: NETWORKS.get(name) for name in references})
    splits = splits_of(labels, seed)
    _check(labels, splits)
    held_out = predict_held_out(labels, features, splits, fits, seed=seed)
    settings = {"seed": seed, "folds": len(splits), "labels": labels.facts()}
    judged = cards(held_out, list(fits), settings, seed=seed)
    winner = choose(held_out, candidates)
    estimator = fits[winner](labels, features, seed=seed)
    card = replace(
        judged[winner],
        scalar=scalar_interval(held_out, winner),
        pair=pair_interval(held_out, winner),
    )
    return Trained(estimator, card, judged, held_out)


def splits_of(labels: SeedPairs, seed: int) -> list[Fold]:
    """Which pairs to keep back in turn; few labels are kept back in several ways."""
    repeats = min(MAX_REPEATS, max(1, round(JUDGED_PAIRS / max(1, len(labels)))))
    return list(folds(labels, repeats=repeats, seed=seed)) if len(labels) else []


def choose(held_out: HeldOut, names: Sequence[str]) -> str:
    """The best of `names` (preferred first), of those that select as well as cosine.

    Best by merit = Spearman per target + mean selection gain: the first name that is behind the
    highest in neither by over a standard error of the paired difference. A name whose sets are
    worse than cosine's by over one is not considered. Nor is one score per sample where another
    predicts some of the interaction, by over one: facility location would not see it.

    Where the labels themselves are nearly additive, Spearman alone decides: all targets then agree
    on the best sources, and a set is worth little more than its first pick.
    """
    if held_out.label_additivity > NEARLY_ADDITIVE:
        able, by = list(names), _ranks
    else:
        able, by = [name for name in names if not _selects_worse(held_out, name)], _merits
        if ADDITIVE in able and any(
            _behind(held_out.interaction_error(name) - held_out.interaction_error(ADDITIVE))
            for name in able
        ):
            able.remove(ADDITIVE)
    best = max(able, key=lambda name: sum(float(part.mean()) for part in by(held_out, name)))
    return next(
        name for name in able if not any(map(_behind, _differences(held_out, name, best, by)))
    )


def _selects_worse(held_out: HeldOut, name: str) -> bool:
    """Whether its selection gain, mean over the shares, is behind that of cosine."""
    gaps = _differences(held_out, name, "cosine", _gains)
    return any(map(_behind, gaps))


def _ranks(held_out: HeldOut, name: str) -> list[Gains]:
    return [held_out.spearman(name)]


def _gains(held_out: HeldOut, name: str) -> list[Gains]:
    """Selection gain per target, (1, n_targets): the mean over the shares that can be judged."""
    gains = [one for share in SHARES if (one := held_out.gain(name, share)) is not None]
    return [np.mean(gains, axis=0)] if gains else []


def _merits(held_out: HeldOut, name: str) -> list[Gains]:
    return _ranks(held_out, name) + _gains(held_out, name)


def _differences(
    held_out: HeldOut, name: str, other: str, by: Callable[[HeldOut, str], list[Gains]]
) -> list[Gains]:
    pairs = zip(by(held_out, name), by(held_out, other), strict=True)
    return [mine - theirs for mine, theirs in pairs]


def _behind(differences: Gains) -> bool:
    """Whether the mean of paired differences is below 0 by over a standard error."""
    error = float(differences.std(ddof=1)) / np.sqrt(len(differences))
    return bool(differences.mean() < -error)


def _check(labels: SeedPairs, splits: Sequence[Fold]) -> None:
    """Fail in the first second, not after the fits."""
    facts = labels.facts() if len(labels) else {"targets": 0, "sources": 0}
    targets = counted(int(facts["targets"]), "target")
    sources = counted(int(facts["sources"]), "source")
    if facts["targets"] < 2 or facts["sources"] < 2:
        raise InputError(
            f"labels cover {targets} and {sources}, "
            f"expected at least 2 of each (dropped: {dict(labels.dropped) or 'nothing'})",
            hint="label more pairs: influence-store label … --pairs 2000",
        )
    if np.ptp(labels.values) == 0:
        raise InputError(
            f"all {len(labels)} labels are {labels.values[0]:g}; there is nothing to learn",
            hint="check the teacher: influence-store query 'select * from pairs limit 20'",
        )
    ranked: set[int] = set()
    for fold in splits:
        fitted, asked = labels.values[fold.fit], labels.take(fold.quadrants["Q4"])
        if len(fitted) < 2 or np.ptp(fitted) == 0:
            raise InputError(
                f"{counted(len(labels), 'pair')} of {targets} × {sources} "
                "are too few: with some samples kept back, nothing is left to fit",
                hint="label more pairs: influence-store label … --pairs 2000",
            )
        judged = Pairs(asked.values, asked.values, asked.targets, asked.sources, asked.targets * 0)
        ranked.update(t for at in judged.ranked_rows() for t in asked.targets[at[:, 0]].tolist())
    if len(ranked) < MIN_TARGETS:
        raise InputError(
            f"{counted(len(ranked), 'target has', 'targets have')} 3 unseen sources to be ranked "
            f"by, expected {MIN_TARGETS}: {counted(len(labels), 'pair')} of {targets} × {sources}",
            hint="label fewer targets with more sources each: at least 20 × 20",
        )


def _in_order(names: Sequence[str]) -> list[str]:
    """Distinct names in the registry's order of preference."""
    known = list(NETWORKS.entries())
    for name in names:
        if name not in known:
            NETWORKS.get(name)  # says which names exist
    return sorted(set(names), key=known.index)
