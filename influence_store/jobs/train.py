"""`train`: what a teacher measured on a seed teaches a network to say about all other rows.

What the teacher yields decides what is learned: values of pairs, vectors whose products are pairs,
or one score per sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from influence_store.errors import NotFound
from influence_store.jobs.teachers import kind_of_teacher, output_of
from influence_store.jobs.train_pairs import pair_lesson, train_pairs
from influence_store.jobs.train_scores import train_scores
from influence_store.jobs.train_vectors import vector_lesson
from influence_store.network import NETWORKS
from influence_store.network.score_train import SCORE_FITS
from influence_store.schema.identity import check_name

if TYPE_CHECKING:
    from influence_store.jobs.teachers import PairLesson
    from influence_store.jobs.train_report import TrainOptions, TrainReport
    from influence_store.store.store import Store
    from influence_store.store.versions import Version


def train(
    store: Store, version: Version, targets: Version, method: str, options: TrainOptions
) -> TrainReport:
    """Fit the candidates to what `method` measured on `version`, keep the best with its card.

    `targets` are whom the sources of a pair help; scores have none. InputError before any work if
    the labels are too few or all equal, NotFound for a network that is none of this kind.
    """
    if options.name is not None:
        check_name("an estimator", options.name)
    kind = kind_of_teacher(store, version, method)
    known = list(SCORE_FITS if kind == "points" else NETWORKS.entries())
    if strange := [one for one in options.networks if one not in known]:
        raise NotFound.named("network", strange[0], known)
    if kind == "points":
        return train_scores(store, version, method, options)
    if kind == "vectors":
        lesson: PairLesson = vector_lesson(store, version, targets, method, seed=options.seed)
        output_of(lesson.method, [lesson.output], options.output)
    else:
        lesson = pair_lesson(store, version, targets, method, options.output)
    return train_pairs(store, version, targets, lesson, options)
