"""`train` of a pointwise method: its values + features → students → judgement → one ONNX file.

Rows that the teacher measured keep their values in their own column; what `fill` adds are estimates
under another name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from influence_store.errors import NotComputed, NotFound
from influence_store.exporters.onnx import export_scores
from influence_store.jobs.features import block_fingerprints, gather
from influence_store.jobs.label_rows import POINTS
from influence_store.jobs.teachers import Lesson, demanded_state, names, newest_embedder, output_of
from influence_store.jobs.train_report import TrainOptions, publish, state_read, training_scope
from influence_store.network.score_labels import usable_scores
from influence_store.network.score_train import SCORE_FITS
from influence_store.network.score_train import train_scores as fit_best

if TYPE_CHECKING:
    from influence_store.jobs.train_report import TrainReport
    from influence_store.network.score_train import TrainedScores
    from influence_store.protocols import Doubles, Floats
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

#: Rows on which the file is compared with the formula, beside random ones.
PROBE_ROWS = 256


@dataclass(frozen=True)
class _ScoreLesson(Lesson):
    """One value per sid, (n,); NaN where the teacher could not measure."""

    values: Doubles


def train_scores(store: Store, version: Version, method: str, options: TrainOptions) -> TrainReport:
    """Fit the students to all values of `method` for rows of `version`; keep the best.

    InputError before any work if the values are too few or all equal, NotFound if there are none,
    or no LLM state where it is to be read.
    """
    lesson = _lesson(store, version, method, options)
    scope = training_scope(lesson, version)
    with store.claim("train", scope, options.params(version, lesson)) as run:
        trained, probe = _fit(store, lesson, options)
        estimator = trained.estimator
        state = state_read(lesson, estimator)
        content: bytes = export_scores(
            estimator,
            fingerprints=block_fingerprints(estimator.features, lesson.embedder, state),
            probe=probe,
        )
        return publish(store, run, version, lesson, estimator, trained.card, content, options.name)


def _lesson(store: Store, version: Version, method: str, options: TrainOptions) -> _ScoreLesson:
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
        raise NotComputed(f"no row of {version} has a value of {method}", hint=hint)
    wanted = output_of(producer, producer.facts["outputs"], options.output)
    sids = frame["sid"].to_numpy()
    return _ScoreLesson(
        method=producer,
        output=wanted,
        sids=sids,
        values=frame[wanted].fill_null(float("nan")).to_numpy(),
        embedder=newest_embedder(store, version),
        state=demanded_state(store, version, sids, options.features),
    )


def _fit(store: Store, lesson: _ScoreLesson, options: TrainOptions) -> tuple[TrainedScores, Floats]:
    """The best student, and feature rows as it reads them."""
    read, readable = gather(store, lesson.sids, options.blocks, lesson.embedder, lesson.state)
    labels = usable_scores(lesson.values, readable)
    networks = options.networks or tuple(SCORE_FITS)
    trained = fit_best(labels, read, networks=networks, seed=options.seed)
    order = np.random.default_rng(options.seed).permutation(labels.samples)[:PROBE_ROWS]
    return trained, read.select(trained.estimator.features).values[order]
