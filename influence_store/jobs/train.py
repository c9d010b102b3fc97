"""`train`: what a teacher measured on a seed teaches a network to say about all other rows.

What the teacher yields decides what is learned: values of pairs, vectors whose products are pairs,
or one score per sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from influence_store.errors import NotFound
from influence_store.jobs.teachers import kind_of_teacher
from influence_store.jobs.train_pairs import train_pairs
from influence_store.jobs.train_scores import train_scores
from influence_store.network import NETWORKS
from influence_store.network.score_train import SCORE_FITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.jobs.train_report import TrainReport
    from influence_store.store.store import Store, Version


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
    """Fit the candidates to what `method` measured on `version`, keep the best with its card.

    `targets` are whom the sources of a pair help; scores have none. `features` are `free`
    (embedding, lengths) or `llm` (also the LLM's hidden state, which then costs one pass for every
    row to be filled). InputError before any work if the labels are too few or all equal.
    """
    kind = kind_of_teacher(store, method)
    of_scores = kind == "points"
    known = list(SCORE_FITS if of_scores else NETWORKS.entries())
    if strange := [one for one in networks if one not in known]:
        raise NotFound.named("network", strange[0], known)
    if of_scores:
        return train_scores(
            store,
            version,
            method,
            output=output,
            networks=networks,
            features=features,
            name=name,
            seed=seed,
        )
    return train_pairs(
        store,
        version,
        targets,
        method,
        bilinear=kind == "vectors",
        output=output,
        networks=networks,
        features=features,
        name=name,
        seed=seed,
    )
