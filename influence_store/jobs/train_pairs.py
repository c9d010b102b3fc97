"""`train` of a teacher of pairs: labels + features → candidates → judgement → one ONNX file.

A bilinear teacher is one too: the products of its vectors are labels that cost nothing, and a
student of the vectors themselves joins the candidates. The estimator that is stored is the one
its card speaks about, even when a baseline won: `select` reads the verdict and acts on it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from pyroaring import BitMap

from influence_store.errors import NotComputed, NotFound
from influence_store.exporters.onnx import export_onnx
from influence_store.jobs.agreement import known_agreement
from influence_store.jobs.features import FREE, LLM, block_fingerprints, gather
from influence_store.jobs.teachers import (
    PairLesson,
    demanded_state,
    names,
    newest_embedder,
    newest_state,
    output_of,
)
from influence_store.jobs.train_report import TrainOptions, publish, state_read, training_scope
from influence_store.jobs.train_vectors import VectorLesson
from influence_store.network.features import EMBEDDING
from influence_store.network.labels import SeedPairs, usable
from influence_store.network.ridge_and_cosine import with_cosine
from influence_store.network.train import train as fit_best

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from influence_store.jobs.train_report import TrainReport
    from influence_store.network.evaluate import Fit
    from influence_store.network.features import Features
    from influence_store.network.train import Trained
    from influence_store.protocols import Ids
    from influence_store.schema.estimator import PairEstimator
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

#: Targets whose mean predicted influence is a sample's scalar; drawn once, kept with the network.
PANEL_ROWS = 256
VECTORS_AND_COSINE = "vectors-and-cosine"
#: Shown with the LLM's hidden state as a feature, where it is stored.
RICHER = "ridge-and-cosine"


def train_pairs(
    store: Store, version: Version, targets: Version, lesson: PairLesson, options: TrainOptions
) -> TrainReport:
    """Fit the candidates to the labels of `lesson`, between `version` and `targets`; keep the best.

    InputError before any work if the labels are too few or all equal, NotFound if an LLM state is
    to be read and not stored; Incompatible if a labelled sample lacks an embedding.
    """
    demanded_state(store, version, lesson.sids, options.features)
    params = options.params(version, lesson) | {"targets": str(targets)}
    with store.claim("train", training_scope(lesson, version), params) as run:
        trained = _fit(store, lesson, options.blocks, options.networks, options.seed)
        card = replace(trained.card, ceiling=_ceiling(store, lesson))
        also = ""
        if options.features == "free" and lesson.state is not None:
            also = _compared(trained, _fit(store, lesson, LLM, [RICHER], options.seed))
        content = _onnx(store, lesson, trained, options.seed)
        return publish(
            store, run, version, lesson, trained.estimator, card, content, options.name, also
        )


def _ceiling(store: Store, lesson: PairLesson) -> float | None:
    """What the teacher's own noise allows, where `label --again` has measured it."""
    known = known_agreement(store, lesson.method)
    if known is None or lesson.output not in known["outputs"]:
        return None
    ceiling: float = known["outputs"][lesson.output]["spearman_ceiling"]
    return ceiling


def _fit(
    store: Store,
    lesson: PairLesson,
    blocks: Sequence[str],
    networks: Sequence[str],
    seed: int,
) -> Trained:
    """Train on the pairs both of whose samples have usable features."""
    features, usable_rows = gather(store, lesson.sids, blocks, lesson.embedder, lesson.state)
    whole = usable_rows[lesson.targets] & usable_rows[lesson.sources]
    values = np.where(whole, lesson.values, np.nan)
    pairs = usable(lesson.targets, lesson.sources, values, features.block(EMBEDDING))
    return fit_best(pairs, features, networks=networks, more=_more(lesson), seed=seed)


def _more(lesson: PairLesson) -> Mapping[str, Fit]:
    """The student of the teacher's vectors, beside cosine, where the teacher has vectors."""
    if not isinstance(lesson, VectorLesson):
        return {}

    def fit(pairs: SeedPairs, features: Features, *, seed: int) -> PairEstimator:
        def refit(some: SeedPairs) -> PairEstimator:
            return lesson.fit(some, features, seed=seed)

        student = refit(pairs)
        return with_cosine(VECTORS_AND_COSINE, student, refit, pairs, features, seed=seed)

    return {VECTORS_AND_COSINE: fit}


def _onnx(store: Store, lesson: PairLesson, trained: Trained, seed: int) -> bytes:
    """The estimator's file, with its reference panel inside."""
    names, state = trained.estimator.features, state_read(lesson, trained.estimator)
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


def pair_lesson(
    store: Store, version: Version, targets: Version, method: str, output: str | None
) -> PairLesson:
    """The newest label set of `method` that touches these versions."""
    hint = f"run: influence-store label {version} --method {method} --model PATH --pairs 2000"
    producers = [p for p in store.producers("pairs") if p.name == method]
    if not producers:
        raise NotFound.named("label set", method, names(store.producers("pairs")), hint=hint)
    for producer in reversed(producers):
        frame = store.pairs(producer).filter(
            pl.col("source").is_in(version.bits.to_array())
            & pl.col("target").is_in(targets.bits.to_array())
        )
        if frame.height:
            break
    else:
        raise NotComputed(f"no labels of {method} between {version} and {targets}", hint=hint)
    outputs = [one for one in frame.columns if one not in ("source", "target")]
    wanted = output_of(producer, outputs, output)
    sids = np.unique(np.concatenate([frame["source"].to_numpy(), frame["target"].to_numpy()]))
    return PairLesson(
        method=producer,
        output=wanted,
        sids=sids,
        targets=np.searchsorted(sids, frame["target"].to_numpy()),
        sources=np.searchsorted(sids, frame["source"].to_numpy()),
        values=frame[wanted].cast(pl.Float32).fill_null(float("nan")).to_numpy(),
        embedder=newest_embedder(store, version),
        state=newest_state(store, sids),
    )


def _panel(store: Store, lesson: PairLesson, seed: int) -> tuple[Ids, tuple[str, ...]]:
    """Sids and ids of the pinned panel: the seed's targets, or a fair draw of them if too many."""
    sids = np.unique(lesson.sids[lesson.targets])
    frame = store.sample_ids(BitMap(sids.astype(np.uint32))).sort("sample_id")
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
