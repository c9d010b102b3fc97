"""What is asked of `train`, whatever the teacher yields, and what does it store and tell?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from influence_store.jobs.estimators import Learnt, publish_estimator
from influence_store.jobs.features import FREE, LLM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from influence_store.jobs.teachers import Lesson
    from influence_store.network.card import AccuracyCard
    from influence_store.network.score_card import ScoreCard
    from influence_store.schema.catalog import Producer
    from influence_store.schema.estimator import PairEstimator, ScoreEstimator
    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store
    from influence_store.store.versions import Version


@dataclass(frozen=True)
class TrainOptions:
    """`output` of the teacher and `networks` to try, its first and the defaults if not given.

    `features` are `free` (embedding, lengths) or `llm` (also the LLM's hidden state, which then
    costs one pass for every row to be filled). `name` is the estimator's, else the output's.
    """

    output: str | None = None
    networks: Sequence[str] = ()
    features: str = "free"
    name: str | None = None
    seed: int = 0

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of the feature blocks that may be read."""
        return LLM if self.features == "llm" else FREE

    def params(self, version: Version, lesson: Lesson) -> dict[str, Any]:
        """As stored with the run."""
        asked = {"features": self.features, "seed": self.seed}
        return {"dataset": str(version), "method": lesson.method.name, **asked}


@dataclass(frozen=True)
class TrainReport:
    """The stored estimator, its card, and what the same labels said with the other features."""

    name: str
    fingerprint: str
    network: str
    features: tuple[str, ...]
    method: str
    output: str
    verdict: str
    card: Mapping[str, Any]
    table: tuple[str, ...]
    also: str
    onnx_bytes: int

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        return {key: value for key, value in vars(self).items() if key != "table"}

    def lines(self) -> list[str]:
        """For people: the accuracy card."""
        told = [
            f"estimator {self.name} of {self.method} ({self.output}), "
            f"{self.onnx_bytes / 1024:,.0f} KiB ONNX, fingerprint {self.fingerprint[:12]}",
            *[f"  {line}" for line in self.table],
        ]
        return [*told, f"  {self.also}"] if self.also else told


def training_scope(lesson: Lesson, version: Version) -> str:
    """What one training holds alone: an output of a teacher on a dataset."""
    return f"train:{lesson.method.fingerprint}:{lesson.output}:{version.dataset}"


def state_read(lesson: Lesson, estimator: PairEstimator | ScoreEstimator) -> Producer | None:
    """The LLM state that the winner reads; it may read less than it was offered."""
    return lesson.state if set(estimator.features) - set(FREE) else None


def publish(
    store: Store,
    run: ActiveRun,
    version: Version,
    lesson: Lesson,
    estimator: PairEstimator | ScoreEstimator,
    card: AccuracyCard | ScoreCard,
    content: bytes,
    name: str | None,
    also: str = "",
) -> TrainReport:
    """Store the ONNX file `content` with its card as a part of `run`, and report both."""
    learnt = Learnt(
        method=lesson.method,
        output=lesson.output,
        embedder=lesson.embedder,
        state=state_read(lesson, estimator),
        network=estimator.network,
        features=estimator.features,
        width=estimator.width,
        verdict=card.verdict,
        card=card.facts(),
    )
    producer = publish_estimator(store, run, version, learnt, content, name)
    run.report({"estimator": producer.fingerprint, "verdict": card.verdict}, {})
    return TrainReport(
        name=producer.name,
        fingerprint=producer.fingerprint,
        network=learnt.network,
        features=learnt.features,
        method=lesson.method.name,
        output=lesson.output,
        verdict=card.verdict,
        card=learnt.card,
        table=tuple(card.lines()),
        also=also,
        onnx_bytes=len(content),
    )
