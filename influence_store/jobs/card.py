"""`card`: what is known of an estimator, told again to whoever opens the store.

What it learnt and from whom, its accuracy card as `train` showed it, where else it was measured
(`evaluate`), where it was found out of its depth (drift), and how many rows it has filled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlmodel import col, select

from influence_store.counted import counted
from influence_store.jobs.estimators import find_estimator
from influence_store.jobs.evaluate import VERB as EVALUATE
from influence_store.network.card import AccuracyCard
from influence_store.network.score_card import ScoreCard
from influence_store.output import moment, plain
from influence_store.schema.catalog import Producer, Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from influence_store.jobs.estimators import Trained
    from influence_store.store.store import Store


@dataclass(frozen=True)
class CardReport:
    """The stored `card` of an estimator, beside `verdict`, the one that counts in this store.

    `trained_on` is the dataset version (of another store, if `origin` says so), `trained_at` unix
    seconds; `filled` has rows by dataset version. `transfers` and `drift` are the newest findings
    for each dataset, as `evaluate` and `ingest` stored them.
    """

    name: str
    fingerprint: str
    method: str
    output: str
    embedder: str
    network: str
    features: tuple[str, ...]
    of_pairs: bool
    trained_on: str
    trained_at: float
    verdict: str
    card: Mapping[str, Any]
    origin: Mapping[str, str]
    filled: Mapping[str, int]
    transfers: tuple[Mapping[str, Any], ...]
    drift: tuple[Mapping[str, Any], ...]

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return dict(vars(self))

    def lines(self) -> list[str]:
        """For people: the card, and what was found out since."""
        card = (AccuracyCard if self.of_pairs else ScoreCard).of(self.card)
        told = [
            plain(
                f"estimator {self.name} of {self.method} ({self.output}), fingerprint "
                f"{self.fingerprint[:12]}, reads {', '.join(self.features)} ({self.embedder})"
            ),
            plain(f"  trained on {self.trained_on}{self._where()}, {moment(self.trained_at)}"),
            *(f"  {line}" for line in card.lines()),
            *(f"  {line}" for line in self._since(card.verdict)),
        ]
        rows = ", ".join(
            f"{counted(count, 'row')} of {name}" for name, count in self.filled.items()
        )
        return [*told, plain(f"  filled: {rows or 'nothing yet'}")]

    def _where(self) -> str:
        return f" of another store ({self.origin['store'][:8]})" if self.origin else ""

    def _since(self, by_the_rules: str) -> Iterator[str]:
        if self.verdict != by_the_rules:
            yield f"verdict in this store: {self.verdict}"
        for one in self.transfers:
            rank = one["card"]["spearman"]
            yield plain(
                f"on {one['dataset']}: {one['verdict']}, rank ρ {rank['mean']:.2f} "
                f"[{rank['low']:.2f}, {rank['high']:.2f}] by {counted(one['pairs'], 'label')} of "
                f"{one['method']}"
            )
        for one in self.drift:
            yield plain(
                f"drift: {one['outside']:,} of the {counted(one['rows'], 'row')} new in "
                f"{one['dataset']} "
                "are unlike those it was taught on"
            )


def card(store: Store, name: str | None) -> CardReport:
    """Of the newest estimator, or the newest called `name` (a name, or digits of a fingerprint).

    NotComputed if there is none at all, NotFound if none is called so.
    """
    trained = find_estimator(store, name)
    row, print_ = trained.row, trained.producer.fingerprint
    home = row.dataset_version_id
    with store.database.read() as session:
        method = session.get_one(Producer, row.method_id)
        made = session.get_one(Run, row.run_id)
        about = [
            run
            for run in session.exec(
                select(Run)
                .where(col(Run.verb).in_((EVALUATE, "drift")), Run.state == "committed")
                .order_by(col(Run.started_at), col(Run.id))
            ).all()
            if run.params.get("estimator") == print_
        ]
    drift = _newest(about, "drift")
    return CardReport(
        name=trained.producer.name,
        fingerprint=print_,
        method=method.name,
        output=row.output,
        embedder=trained.embedder.name,
        network=row.network,
        features=trained.features,
        of_pairs=trained.of_pairs,
        trained_on=str(store.version_by_id(home)) if home else trained.origin["dataset"],
        trained_at=made.started_at,
        verdict=row.verdict,
        card=row.card,
        origin=trained.origin,
        filled=_filled(store, trained),
        transfers=_newest(about, EVALUATE),
        drift=tuple(one for one in drift if one["drift"]),
    )


def _newest(runs: list[Run], verb: str) -> tuple[dict[str, Any], ...]:
    """The last result for each dataset version, the first dataset first."""
    return tuple({run.params["dataset"]: run.result for run in runs if run.verb == verb}.values())


def _filled(store: Store, trained: Trained) -> dict[str, int]:
    assert trained.producer.id is not None
    cells = store.covered(trained.producer.id)
    counts = {str(version): len(version.bits & cells) for version in store.heads()}
    return {name: count for name, count in counts.items() if count}
