"""After `ingest`: what the new rows lack from the dataset's active producers, then just that.

The plan is the difference of two bitmaps per producer, so it costs milliseconds and is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from influence_store.counted import counted
from influence_store.errors import Incompatible
from influence_store.jobs.drift import measure_drift
from influence_store.jobs.embed import embed
from influence_store.jobs.estimators import find_estimator
from influence_store.jobs.fill import fill

if TYPE_CHECKING:
    from collections.abc import Callable

    from influence_store.jobs.drift import DriftReport
    from influence_store.protocols import Embedder
    from influence_store.schema.catalog import Producer
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

    OpenEmbedder = Callable[[str], Embedder]


@dataclass(frozen=True)
class Plan:
    """Cells to compute, by producer name; `waiting` need an LLM pass first and are not filled.

    Once done, `drift` tells for each estimator whether it was taught on rows like the new ones.
    """

    embeddings: dict[str, int]
    fills: dict[str, int]
    waiting: dict[str, int]
    drift: tuple[DriftReport, ...] = ()

    @property
    def llm_passes(self) -> int:
        """Passes this plan will spend: ingest never spends one."""
        return 0

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`; `drift` speaks for itself."""
        return {
            "embeddings": sum(self.embeddings.values()),
            "fills": sum(self.fills.values()),
            "llm_passes": self.llm_passes,
            "waiting": self.waiting,
        }

    def lines(self, word: str) -> list[str]:
        """For people, `word` being planned or done; empty where no producer is active."""
        waiting = [
            f"  {name} is not filled: {counted(count, 'row needs', 'rows need')} an LLM pass "
            "first; run: influence-store label DATASET --method llm-state"
            for name, count in self.waiting.items()
        ]
        active = self.embeddings or self.fills or self.waiting
        drift = [line for report in self.drift for line in report.lines()]
        return [f"{word}: {self.line()}", *waiting, *drift] if active else []

    def line(self) -> str:
        """For people, in one line."""
        facts = self.facts()
        return (
            f"{counted(facts['embeddings'], 'embedding')}, {counted(facts['fills'], 'fill')}, "
            f"{counted(facts['llm_passes'], 'LLM pass')}"
        )


def plan(store: Store, version: Version) -> Plan:
    """What `refresh` would compute for `version`; reads the catalog only."""
    embeddings: dict[str, int] = {}
    fills: dict[str, int] = {}
    waiting: dict[str, int] = {}
    for producer, _ in store.active(version.dataset_id):
        missing = store.missing(version, producer)
        if producer.kind == "embedding":
            embeddings[producer.name] = len(missing)
        elif lacking := _lacking_state(store, version, producer):
            waiting[producer.name] = lacking
        else:
            fills[producer.name] = len(missing)
    return Plan(embeddings, fills, waiting)


def refresh(store: Store, version: Version, open_embedder: OpenEmbedder) -> Plan:
    """Carry out the plan for `version` and return it, with the drift of the rows filled now."""
    todo = plan(store, version)
    active = store.active(version.dataset_id)
    for producer, source in active:
        if producer.kind == "embedding" and todo.embeddings[producer.name]:
            embedder = open_embedder(source)
            _check_same(store, embedder, producer, source)
            embed(store, version, embedder, source)
    drift = []
    for producer, _ in active:
        if todo.fills.get(producer.name):
            new = store.missing(version, producer)
            trained = find_estimator(store, producer.fingerprint)
            fill(store, version, trained)
            drift.append(measure_drift(store, version, trained, new))
    return replace(todo, drift=tuple(report for report in drift if report is not None))


def _lacking_state(store: Store, version: Version, producer: Producer) -> int:
    """Rows of `version` to be filled that have no LLM state, where the estimator reads one."""
    trained = find_estimator(store, producer.fingerprint)
    if trained.state is None or trained.state.id is None:
        return 0
    missing = store.missing(version, producer)
    return len(missing - store.covered(trained.state.id))


def _check_same(store: Store, embedder: Embedder, producer: Producer, source: str) -> None:
    found = store.find_producer("embedding", embedder.name, embedder.facts)
    if found is None or found.id != producer.id:
        changed = found.fingerprint[:12] if found else "unknown to this store"
        raise Incompatible(
            f"the embedder at {source} now has another fingerprint ({changed}), the dataset "
            f"uses {producer.fingerprint[:12]} ({producer.name})",
            hint="put the old model back there, or embed the dataset anew: influence-store embed",
        )
