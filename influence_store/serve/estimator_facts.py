"""Accuracy cards in words and as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from influence_store.counted import counted
from influence_store.jobs.estimators import all_estimators

if TYPE_CHECKING:
    from influence_store.jobs.estimators import Trained
    from influence_store.store.store import Store

MEANS = {
    "trusted": "It ranks better than what costs nothing, and nothing speaks against it.",
    "weak": "It ranks better than what costs nothing, but there are doubts.",
    "no better than cosine": "Cosine ranks as well and costs no LLM pass: select by cosine.",
    "no better than length": "The length of a sample ranks as well: do not select by it.",
    "no better than mean": "It has no order of its own: do not select by it.",
}


@dataclass(frozen=True)
class Table:
    """Figures of the estimator and its rivals on samples that none had seen; None = undefined."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, bool, tuple[float | None, ...]], ...]


@dataclass(frozen=True)
class Card:
    """One estimator: `words` are sentences, `doubts` and `notes` the card's own."""

    name: str
    fingerprint: str
    column: str
    teacher: str
    output: str
    network: str
    features: tuple[str, ...]
    verdict: str
    means: str
    words: tuple[str, ...]
    doubts: tuple[str, ...]
    notes: tuple[str, ...]
    table: Table


def cards(store: Store) -> list[Card]:
    """Of every estimator, newest first."""
    teachers = {one.id: one.name for one in store.producers()}
    return [_card(one, teachers[one.row.method_id]) for one in reversed(all_estimators(store))]


def _card(trained: Trained, teacher: str) -> Card:
    row, card = trained.row, dict(trained.row.card)
    of_pairs = "Q4" in card["figures"]
    return Card(
        name=trained.producer.name,
        fingerprint=trained.producer.fingerprint,
        column=f"est_{trained.producer.name.replace('-', '_')}",
        teacher=teacher,
        output=row.output,
        network=row.network,
        features=trained.features,
        verdict=row.verdict,
        means=MEANS.get(row.verdict, ""),
        words=tuple(_pair_words(card) if of_pairs else _score_words(card)),
        doubts=tuple(card.get("doubts", ())),
        notes=tuple(card.get("notes", ())),
        table=_pair_table(card) if of_pairs else _score_table(card),
    )


def _pair_words(card: dict[str, Any]) -> list[str]:
    labels, own = card["labels"], card["figures"]["Q4"][card["network"]]
    told = [
        f"Learnt from {counted(labels['pairs'], 'labelled pair')} of "
        f"{counted(labels['targets'], 'target')} and "
        f"{counted(labels['sources'], 'source')}.",
        f"For {counted(own['pairs'], 'pair')} of samples that it had not seen, its order of the "
        f"sources of "
        f"a target correlates with the teacher's by {_interval(card['spearman'])}; that is "
        f"{_interval(card['over_cosine'], sign=True)} against cosine.",
        f"It saves {card['error_saved']['mean']:.0%} of the squared error of the mean.",
    ]
    if card.get("spearman_ceiling") is not None:
        told.append(
            f"The teacher's own noise allows a correlation of {card['spearman_ceiling']:.2f} at "
            "most."
        )
    for name, what in (("scalar", "a sample's mean influence"), ("pair", "the value of one pair")):
        if one := card.get(f"{name}_interval"):
            told.append(
                f"In {one['coverage']:.0%} of cases {what} lies within ± {one['half_width']:.3g} "
                "of what it says."
            )
    return told


def _score_words(card: dict[str, Any]) -> list[str]:
    own = card["figures"][card["network"]]
    return [
        f"Learnt from the scores of {counted(card['labels']['samples'], 'sample')}.",
        f"On samples that it had not seen its order correlates with the teacher's by "
        f"{_interval(card['spearman'])}; that is {_interval(card['over_length'], sign=True)} "
        "against ordering by length.",
        f"It finds {own['top_overlap']:.0%} of the highest tenth, where a guess finds "
        f"{own['top_chance']:.0%}.",
    ]


def _interval(one: dict[str, float], *, sign: bool = False) -> str:
    form = "+.2f" if sign else ".2f"
    told = f"{one['mean']:{form}} (95 %: {one['low']:{form}} to {one['high']:{form}})"
    return told.replace("-", "−")


def _pair_table(card: dict[str, Any]) -> Table:
    figures = card["figures"]["Q4"]
    shares = [one["share"] for one in figures[card["network"]]["selection"]]
    names = [f"gain at {share:.0%}" for share in shares]
    rows = [
        (
            name,
            name == card["network"],
            (
                # Raw cosine is on another scale, its error means nothing.
                None if name == "cosine, raw" else one["r2"],
                one["spearman_per_target"],
                *(gain["gain"] for gain in one["selection"]),
                one["additivity"],
            ),
        )
        for name, one in figures.items()
    ]
    return Table(
        "Pairs of which neither sample was seen, best rank correlation first. Gain: 0 is a random "
        "set, 1 the teacher's own choice.",
        ("R²", "rank ρ", *names, "additive"),
        tuple(sorted(rows, key=lambda row: -(row[2][1] or 0.0))),
    )


def _score_table(card: dict[str, Any]) -> Table:
    rows = [
        (
            name,
            name == card["network"],
            (
                one["r2"],
                one["spearman"],
                one["kendall"],
                one["top_overlap"],
                one["calibration_slope"],
            ),
        )
        for name, one in card["figures"].items()
    ]
    return Table(
        "Samples kept back, best rank correlation first.",
        ("R²", "rank ρ", "rank τ", "top 10 %", "slope"),
        tuple(sorted(rows, key=lambda row: -(row[2][1] or 0.0))),
    )
