"""`train`: labels + features → candidates → held-out judgement → one ONNX estimator with a card.

The estimator that is stored is the one its card speaks about, even when a baseline won: `select`
reads the verdict and acts on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from influence_store.errors import NotFound, UsageError
from influence_store.exporters.onnx import export_onnx
from influence_store.jobs.estimators import KIND
from influence_store.jobs.features import FREE, LLM, block_fingerprints, gather
from influence_store.jobs.llm_state import KIND as STATE
from influence_store.network.features import EMBEDDING
from influence_store.network.labels import usable
from influence_store.network.train import DEFAULT_NETWORKS
from influence_store.network.train import train as fit_best
from influence_store.schema.catalog import Estimator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlmodel import Session

    from influence_store.network.train import Trained
    from influence_store.protocols import Floats, Ids
    from influence_store.schema.catalog import Producer
    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store, Version

#: Targets whose mean predicted influence is a sample's scalar; drawn once, kept with the network.
PANEL_ROWS = 256


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


@dataclass(frozen=True)
class _Lesson:
    """Labels of one output in terms of `sids` (positions point into that list), and what there
    is to learn from: the dataset's embedder and, if stored, the LLM's base states.
    """

    method: Producer
    output: str
    sids: Ids
    targets: Ids
    sources: Ids
    values: Floats
    embedder: Producer
    state: Producer | None


def train(
    store: Store,
    version: Version,
    targets: Version,
    method: str,
    *,
    output: str | None = None,
    networks: Sequence[str] = (),
    features: str = "free",
    name: str | None = None,
    seed: int = 0,
) -> TrainReport:
    """Fit the candidates to all labels of `method` between `version` and `targets`; keep the best.

    `features` are `free` (embedding, lengths) or `llm` (also the LLM's hidden state, which then
    costs one pass for every row to be filled). InputError before any work if the labels are too
    few or all equal; Incompatible if a labelled sample lacks an embedding.
    """
    lesson = _lesson(store, version, targets, method, output)
    if features == "llm" and lesson.state is None:
        raise NotFound(
            "no LLM state is stored for the labelled samples",
            hint=f"run: influence-store label {version} --method llm-state --model PATH",
        )
    params = {"dataset": str(version), "method": method, "features": features, "seed": seed}
    scope = f"train:{lesson.method.fingerprint}:{lesson.output}:{version.dataset}"
    with store.claim("train", scope, params) as run:
        candidates = list(networks) or list(DEFAULT_NETWORKS)
        trained = _fit(store, lesson, LLM if features == "llm" else FREE, candidates, seed)
        also = ""
        if features == "free" and lesson.state is not None:
            richer = _fit(store, lesson, LLM, ["two-step-kernel-ridge"], seed)
            also = _compared(trained, richer)
        # The winner may read less than it was offered: cosine reads the embedding alone.
        state = lesson.state if set(trained.estimator.features) - set(FREE) else None
        content = _onnx(store, lesson, trained, state, seed)
        producer = _publish(store, run, version, lesson, trained, state, content, name)
        report = TrainReport(
            name=producer.name,
            fingerprint=producer.fingerprint,
            network=trained.estimator.network,
            features=trained.estimator.features,
            method=lesson.method.name,
            output=lesson.output,
            verdict=trained.card.verdict,
            card=trained.card.facts(),
            table=tuple(trained.card.lines()),
            also=also,
            onnx_bytes=len(content),
        )
        run.report({"estimator": producer.fingerprint, "verdict": trained.card.verdict}, {})
    return report


def _fit(
    store: Store, lesson: _Lesson, names: Sequence[str], networks: Sequence[str], seed: int
) -> Trained:
    """Train on the pairs both of whose samples have usable features."""
    features, usable_rows = gather(store, lesson.sids, names, lesson.embedder, lesson.state)
    whole = usable_rows[lesson.targets] & usable_rows[lesson.sources]
    values = np.where(whole, lesson.values, np.nan)
    pairs = usable(lesson.targets, lesson.sources, values, features.block(EMBEDDING))
    return fit_best(pairs, features, networks=networks, seed=seed)


def _onnx(
    store: Store, lesson: _Lesson, trained: Trained, state: Producer | None, seed: int
) -> bytes:
    """The estimator's file, with its reference panel inside."""
    names = trained.estimator.features
    panel, panel_ids = _panel(store, lesson, seed)
    block, _ = gather(store, panel, names, lesson.embedder, state)
    content: bytes = export_onnx(
        trained.estimator,
        fingerprints=block_fingerprints(names, lesson.embedder, state),
        panel=block.values,
        panel_ids=panel_ids,
        probe=block.values,
    )
    return content


def _publish(
    store: Store,
    run: ActiveRun,
    version: Version,
    lesson: _Lesson,
    trained: Trained,
    state: Producer | None,
    content: bytes,
    name: str | None,
) -> Producer:
    artifact = store.put_artifact(content, "onnx")
    facts = {
        "onnx": artifact.sha256,
        "features": list(trained.estimator.features),
        "method": lesson.method.fingerprint,
        "output": lesson.output,
        "embedder": lesson.embedder.fingerprint,
        "state": state.fingerprint if state else None,
    }
    published: list[Producer] = []

    def more(session: Session, _block_ids: list[int]) -> None:
        producer = store.producer_in(
            session,
            KIND,
            name or lesson.output,
            facts,
            dim=trained.estimator.target_tower.d_out,
            higher_means="helpful",
        )
        published[:] = [producer]
        assert producer.id is not None
        assert lesson.method.id is not None
        assert lesson.embedder.id is not None
        if session.get(Estimator, producer.id) is None:
            session.add(
                Estimator(
                    producer_id=producer.id,
                    dataset_version_id=version.id,
                    method_id=lesson.method.id,
                    output=lesson.output,
                    embedder_id=lesson.embedder.id,
                    state_id=state.id if state else None,
                    network=trained.estimator.network,
                    artifact=artifact.sha256,
                    verdict=trained.card.verdict,
                    card=trained.card.facts(),
                    run_id=run.id,
                )
            )

    run.publish([], more, [artifact])
    return published[0]


def _lesson(
    store: Store, version: Version, targets: Version, method: str, output: str | None
) -> _Lesson:
    """The newest label set of `method` that touches these versions."""
    hint = f"run: influence-store label {version} --method {method} --model PATH --pairs 2000"
    producers = [p for p in store.producers("pairs") if p.name == method]
    if not producers:
        known = [p.name for p in store.producers("pairs")]
        raise NotFound.named("label set", method, known, hint=hint)
    for producer in reversed(producers):
        frame = store.pairs(producer).filter(
            pl.col("source").is_in(version.bits.to_array())
            & pl.col("target").is_in(targets.bits.to_array())
        )
        if frame.height:
            break
    else:
        raise NotFound(f"no labels of {method} between {version} and {targets}", hint=hint)
    outputs = [name for name in frame.columns if name not in ("source", "target")]
    wanted = output or outputs[0]
    if wanted not in outputs:
        raise UsageError(f"{method} has no output {wanted!r}", hint=f"it has {', '.join(outputs)}")
    sids = np.unique(np.concatenate([frame["source"].to_numpy(), frame["target"].to_numpy()]))
    return _Lesson(
        method=producer,
        output=wanted,
        sids=sids,
        targets=np.searchsorted(sids, frame["target"].to_numpy()),
        sources=np.searchsorted(sids, frame["source"].to_numpy()),
        values=frame[wanted].cast(pl.Float32).fill_null(float("nan")).to_numpy(),
        embedder=_embedder(store, version),
        state=_state(store, sids),
    )


def _embedder(store: Store, version: Version) -> Producer:
    """The dataset's newest active embedder."""
    active = [p for p, _ in store.active(version.dataset_id) if p.kind == "embedding"]
    if not active:
        raise NotFound(
            f"{version} has no embeddings",
            hint=f"run: influence-store embed {version} --embedder E",
        )
    return active[-1]


def _state(store: Store, sids: Ids) -> Producer | None:
    """The newest LLM state that all labelled samples have."""
    for producer in reversed(store.producers(STATE)):
        assert producer.id is not None
        covered = store.covered(producer.id)
        if all(sid in covered for sid in sids.tolist()):
            return producer
    return None


def _panel(store: Store, lesson: _Lesson, seed: int) -> tuple[Ids, tuple[str, ...]]:
    """Sids and ids of the pinned panel: the seed's targets, or a fair draw of them if too many."""
    sids = np.unique(lesson.sids[lesson.targets])
    wanted = pl.col("sid").is_in(sids.tolist())
    frame = store.sample_ids().filter(wanted).sort("sample_id")
    order = np.sort(np.random.default_rng(seed).permutation(frame.height)[:PANEL_ROWS])
    frame = frame[order.tolist()]
    return frame["sid"].to_numpy(), tuple(one.hex() for one in frame["sample_id"].to_list())


def _compared(free: Trained, richer: Trained) -> str:
    """What the LLM's hidden state would add, in a line."""
    if set(richer.estimator.features) <= set(FREE):
        return "the LLM's hidden state as a feature would not change the choice"
    ours = free.card.own.spearman_per_target or 0.0
    theirs = richer.card.own.spearman_per_target or 0.0
    return (
        f"with the LLM's hidden state as a feature ({richer.estimator.network}): rank ρ "
        f"{theirs:.2f} against {ours:.2f} here, at one LLM pass per row; --features llm uses it"
    )
