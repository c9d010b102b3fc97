"""Trained estimators as the catalog describes them, by name or fingerprint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from sqlmodel import col, select

from influence_store.errors import Incompatible, NotComputed, NotFound
from influence_store.network.onnx_estimator import OnnxEstimator
from influence_store.network.score_onnx import OnnxScores
from influence_store.schema.catalog import Estimator, Producer
from influence_store.schema.identity import ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlmodel import Session

    from influence_store.protocols import HigherMeans
    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

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

    @property
    def origin(self) -> dict[str, str]:
        """Of one that was pulled: its store, dataset and verdict there; else empty."""
        return dict(self.row.card.get("origin", {}))

    def taught_ids(self, store: Store) -> frozenset[bytes]:
        """Of one that was pulled: the ids of the samples that it was taught on."""
        packed = store.get_artifact(self.origin["taught"])
        return frozenset(packed[k : k + ID_BYTES] for k in range(0, len(packed), ID_BYTES))

    @property
    def of_pairs(self) -> bool:
        """Whether it estimates pairs, from vectors; else one score per sample."""
        return self.producer.dim > 0

    def open(self, store: Store) -> OnnxEstimator:
        """Load the network from the store, its bytes checked first; Incompatible if of scores."""
        if not self.of_pairs:
            column = f"est_{self.producer.name.replace('-', '_')}"
            raise Incompatible(
                f"estimator {self.producer.name} gives one score per sample, no value of a pair",
                hint=f"select by it: influence-store select … --objective top --by {column}",
            )
        return OnnxEstimator(store.get_artifact(self.row.artifact))

    def open_scores(self, store: Store) -> OnnxScores:
        """The same for an estimator of scores; Incompatible if it is one of pairs."""
        return OnnxScores(store.get_artifact(self.row.artifact))


def trained_estimators(store: Store) -> list[Trained]:
    """Those of pairs, oldest first: what a kernel can stand on."""
    return [one for one in all_estimators(store) if one.of_pairs]


def all_estimators(store: Store) -> list[Trained]:
    """Those of pairs and those of scores, oldest first."""
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
    trained = all_estimators(store)
    if not trained:
        raise NotComputed("there is no estimator yet", hint="run: influence-store train DATASET")
    if name is None:
        return trained[-1]
    fitting = [one for one in trained if is_called(one.producer, name)]
    if not fitting:
        raise NotFound.named("estimator", name, [one.producer.name for one in trained])
    return fitting[-1]


@dataclass(frozen=True)
class Learnt:
    """What the catalog says of a new estimator; `width` is that of its vectors, 0 for scores."""

    method: Producer
    output: str
    embedder: Producer
    state: Producer | None
    network: str
    features: tuple[str, ...]
    width: int
    verdict: str
    card: Mapping[str, Any]


def publish_estimator(
    store: Store,
    run: ActiveRun,
    version: Version,
    learnt: Learnt,
    content: bytes,
    name: str | None,
) -> Producer:
    """Store the ONNX file, its producer and its card in one step of `run`; the producer."""
    artifact = store.put_artifact(content, "onnx")
    facts = {
        "onnx": artifact.sha256,
        "features": list(learnt.features),
        "method": learnt.method.fingerprint,
        "output": learnt.output,
        "embedder": learnt.embedder.fingerprint,
        "state": learnt.state.fingerprint if learnt.state else None,
    }
    # Every pairwise value says how much a source helps; a score means what its teacher means.
    higher_means = "helpful" if learnt.width else learnt.method.higher_means
    published: list[Producer] = []

    def more(session: Session, _block_ids: list[int]) -> None:
        producer = store.producer_in(
            session,
            KIND,
            name or learnt.output,
            facts,
            dim=learnt.width,
            higher_means=cast("HigherMeans", higher_means),
        )
        published[:] = [producer]
        assert producer.id is not None
        assert learnt.method.id is not None
        assert learnt.embedder.id is not None
        if session.get(Estimator, producer.id) is None:
            session.add(
                Estimator(
                    producer_id=producer.id,
                    dataset_version_id=version.id,
                    method_id=learnt.method.id,
                    output=learnt.output,
                    embedder_id=learnt.embedder.id,
                    state_id=learnt.state.id if learnt.state else None,
                    network=learnt.network,
                    artifact=artifact.sha256,
                    verdict=learnt.verdict,
                    card=dict(learnt.card),
                    run_id=run.id,
                )
            )

    run.publish([], more, [artifact])
    return published[0]


def is_called(producer: Producer, name: str) -> bool:
    """Whether `name` is its name, or begins its fingerprint with six digits or more."""
    return producer.name == name or (len(name) >= 6 and producer.fingerprint.startswith(name))
