"""How good is each estimator, beside every rival on the same samples? Its stored card, retold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from influence_store.jobs.estimators import all_estimators
from influence_store.network.intervals import ConformalInterval
from influence_store.report.influence_facts import Between, Card, Difference, Rival
from influence_store.report.values import Missing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.jobs.estimators import Trained
    from influence_store.jobs.report_rows import Rows
    from influence_store.store.store import Store

#: A guess that finds more of the best than this says little about who finds them.
_FAIR = 1 / 3
_INTERVALS = {"scalar_interval": "a sample's mean influence", "pair_interval": "a pair"}
_OVER = {"over_cosine": "cosine", "over_additive": "row+column effects", "over_length": "length"}


def accuracy(store: Store, rows: Rows) -> tuple[Card, ...] | Missing:
    """The cards of the estimators that speak of this dataset, oldest first."""
    cards = tuple(_card(store, one) for one in all_estimators(store) if _concerns(store, one, rows))
    return cards or Missing(
        "No estimator was trained on this dataset, and none filled a column of it.",
        f"influence-store train {rows.version}",
    )


def _concerns(store: Store, trained: Trained, rows: Rows) -> bool:
    """Whether it was taught on the dataset, in any version, or has estimated rows of this one."""
    home = trained.row.dataset_version_id
    if home is not None and store.version_by_id(home).dataset_id == rows.version.dataset_id:
        return True
    assert trained.producer.id is not None
    return bool(store.covered(trained.producer.id) & rows.version.bits)


def _card(store: Store, trained: Trained) -> Card:
    card, row = trained.row.card, trained.row
    home = row.dataset_version_id
    method = next(one for one in store.producers() if one.id == row.method_id)
    own = _figures(trained)[row.network]
    gains = own.get("selection") or [{"share": None}]
    return Card(
        estimator=trained.producer.name,
        fingerprint=trained.producer.fingerprint[:12],
        method=method.name,
        output=row.output,
        network=row.network,
        trained_on=str(store.version_by_id(home)) if home else str(trained.origin.get("dataset")),
        verdict=row.verdict,
        of_pairs=trained.of_pairs,
        judged=own["pairs"] if trained.of_pairs else own["samples"],
        share=gains[0]["share"],
        rivals=_rivals(trained),
        differences=tuple(
            Difference(name, _between(card[key])) for key, name in _OVER.items() if key in card
        ),
        words=_words(card),
    )


def _figures(trained: Trained) -> Mapping[str, Any]:
    """By rival: of pairs those on Q4, of which neither sample was seen."""
    figures: Mapping[str, Any] = trained.row.card["figures"]
    return figures["Q4"] if trained.of_pairs else figures


def _rivals(trained: Trained) -> tuple[Rival, ...]:
    figures = _figures(trained)
    tell = _of_pairs if trained.of_pairs else _of_scores
    own = _between(trained.row.card["spearman"])
    rivals = [
        tell(name, one, own if name == trained.row.network else None)
        for name, one in figures.items()
    ]
    return tuple(sorted(rivals, key=lambda one: (-(one.rank or 0.0), one.name)))


def _of_pairs(name: str, one: Mapping[str, Any], interval: Between | None) -> Rival:
    fair = [top for top in one["top_k"] if top["chance"] <= _FAIR]
    gains = one.get("selection") or [{"gain": None}]
    return Rival(
        name=name,
        rank=one["spearman_per_target"],
        interval=interval,
        # Raw cosine is on no scale of influence, so its error means nothing.
        r2=None if name == "cosine, raw" else one["r2"],
        top=fair[-1]["overlap"] if fair else None,
        top_of_a_guess=fair[-1]["chance"] if fair else None,
        gain=gains[0]["gain"],
    )


def _of_scores(name: str, one: Mapping[str, Any], interval: Between | None) -> Rival:
    return Rival(
        name, one["spearman"], interval, one["r2"], one["top_overlap"], one["top_chance"], None
    )


def _between(one: Mapping[str, float]) -> Between:
    return Between(one["mean"], one["low"], one["high"])


def _words(card: Mapping[str, Any]) -> tuple[str, ...]:
    """What a person should know besides the figures."""
    told = [f"doubt: {one}" for one in card.get("doubts", ())]
    told += [f"note: {one}" for one in card.get("notes", ())]
    if card.get("spearman_ceiling") is not None:
        ceiling = card["spearman_ceiling"]
        told.append(f"the teacher's own noise allows a rank correlation of {ceiling:.2f} at most")
    for key, about in _INTERVALS.items():
        if card.get(key):
            told.append(f"{about}: {ConformalInterval(**card[key]).line()}")
    return tuple(told)
