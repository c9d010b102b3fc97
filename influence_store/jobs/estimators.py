"""Trained estimators as the catalog describes them, by name or fingerprint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlmodel import col, select

from influence_store.errors import NotFound
from influence_store.network.onnx_estimator import OnnxEstimator
from influence_store.schema.catalog import Estimator, Producer

if TYPE_CHECKING:
    from influence_store.store.store import Store

KIND = "estimate"


@dataclass(frozen=True)
class Trained:
    """One estimator with the producers it stands on; `state` where it reads an LLM state."""

    row: Estimator
    producer: Producer
    embedder: Producer
    state: Producer | None

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the feature blocks, in order."""
        return tuple(self.producer.facts["features"])

    def open(self, store: Store) -> OnnxEstimator:
        """Load the network from the store, its bytes checked first."""
        return OnnxEstimator(store.get_artifact(self.row.artifact))


def trained_estimators(store: Store) -> list[Trained]:
    """All of them, oldest first."""
    with store.database.read() as session:
        producers = {p.id: p for p in session.exec(select(Producer)).all()}
        rows = session.exec(select(Estimator).order_by(col(Estimator.producer_id))).all()
    return [
        Trained(
            row,
            producers[row.producer_id],
            producers[row.embedder_id],
            producers[row.state_id] if row.state_id else None,
        )
        for row in rows
    ]


def find_estimator(store: Store, name: str | None) -> Trained:
    """The newest estimator, or the newest called `name` (a name, or 6 digits of a fingerprint)."""
    trained = trained_estimators(store)
    if not trained:
        raise NotFound("there is no estimator yet", hint="run: influence-store train DATASET")
    if name is None:
        return trained[-1]
    fitting = [one for one in trained if _is_called(one.producer, name)]
    if not fitting:
        raise NotFound.named("estimator", name, [one.producer.name for one in trained])
    return fitting[-1]


def _is_called(producer: Producer, name: str) -> bool:
    return producer.name == name or (len(name) >= 6 and producer.fingerprint.startswith(name))
