"""`train` of a pointwise method: its values + features → students → judgement → one ONNX file.

Rows that the teacher measured keep their values in their own column; what `fill` adds are estimates
under another name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from influence_store.errors import NotFound
from influence_store.exporters.onnx import export_scores
from influence_store.jobs.estimators import Learnt, publish_estimator
from influence_store.jobs.features import FREE, LLM, block_fingerprints, gather
from influence_store.jobs.label_rows import POINTS
from influence_store.jobs.teachers import demanded_state, names, newest_embedder, output_of
from influence_store.jobs.train_report import TrainReport
from influence_store.network.score_labels import usable_scores
from influence_store.network.score_train import SCORE_FITS
from influence_store.network.score_train import train_scores as fit_best

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.network.score_train import TrainedScores
    from influence_store.protocols import Doubles, Floats, Ids
    from influence_store.schema.catalog import Producer
    from influence_store.store.store import Store, Version

#: Rows on which the file is compared with the formula, beside random ones.
PROBE_ROWS = 256


@dataclass(frozen=True)
class _Lesson:
    """Values (n,) of one output for `sids`, and the producers there are to learn from."""

    method: Producer
    output: str
    sids: Ids
    values: Doubles
    embedder: Producer
    state: Producer | None


def train_scores(
    store: Store,
    version: Version,
    method: str,
    *,
    output: str | None = None,
    networks: Sequence[str] = (),
    features: str = "free",
    name: str | None = None,
    seed: int = 0,
) -> TrainReport:
    """Fit the students to all values of `method` for rows of `version`; keep the best.

    `features` as of `train`. InputError before any work if the values are too few or all equal,
    NotFound if there are none, or no LLM state where `features` is `llm`.
    """
    lesson = _lesson(store, version, method, output, features)
    params = {"dataset": str(version), "method": method, "features": features, "seed": seed}
    scope = f"train:{lesson.method.fingerprint}:{lesson.output}:{version.dataset}"
    with store.claim("train", scope, params) as run:
        trained, probe = _fit(store, lesson, networks, features, seed)
        # The winner may read less than it was offered: length reads two columns.
        state = lesson.state if set(trained.estimator.features) - set(FREE) else None
        content: bytes = export_scores(
            trained.estimator,
            fingerprints=block_fingerprints(trained.estimator.features, lesson.embedder, state),
            probe=probe,
        )
        learnt = Learnt(
            method=lesson.method,
            output=lesson.output,
            embedder=lesson.embedder,
            state=state,
            network=trained.estimator.network,
            features=trained.estimator.features,
            width=0,
            verdict=trained.card.verdict,
            card=trained.card.facts(),
        )
        producer = publish_estimator(store, run, version, learnt, content, name)
        run.report({"estimator": producer.fingerprint, "verdict": trained.card.verdict}, {})
    return TrainReport(
        name=producer.name,
        fingerprint=producer.fingerprint,
        network=trained.estimator.network,
        features=trained.estimator.features,
        method=lesson.method.name,
        output=lesson.output,
        verdict=trained.card.verdict,
        card=trained.card.facts(),
        table=tuple(trained.card.lines()),
        also="",
        onnx_bytes=len(content),
    )


def _lesson(
    store: Store, version: Version, method: str, output: str | None, features: str
) -> _Lesson:
    """The newest values of `method` that touch this version."""
    hint = f"run: influence-store label {version} --method {method} --model PATH --rows 500"
    producers = [one for one in store.producers(POINTS) if one.name == method]
    if not producers:
        raise NotFound.named("label set", method, names(store.producers(POINTS)), hint=hint)
    for producer in reversed(producers):
        frame = store.points(producer, version.bits)
        if frame.height:
            break
    else:
        raise NotFound(f"no row of {version} has a value of {method}", hint=hint)
    wanted = output_of(producer, producer.facts["outputs"], output)
    sids = frame["sid"].to_numpy()
    return _Lesson(
        method=producer,
        output=wanted,
        sids=sids,
        values=frame[wanted].fill_null(float("nan")).to_numpy(),
        embedder=newest_embedder(store, version),
        state=demanded_state(store, version, sids, features),
    )


def _fit(
    store: Store, lesson: _Lesson, networks: Sequence[str], features: str, seed: int
) -> tuple[TrainedScores, Floats]:
    """The best student, and feature rows as it reads them."""
    blocks = LLM if features == "llm" else FREE
    read, readable = gather(store, lesson.sids, blocks, lesson.embedder, lesson.state)
    labels = usable_scores(lesson.values, readable)
    trained = fit_best(labels, read, networks=networks or tuple(SCORE_FITS), seed=seed)
    order = np.random.default_rng(seed).permutation(labels.samples)[:PROBE_ROWS]
    return trained, read.select(trained.estimator.features).values[order]
