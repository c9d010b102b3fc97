"""What do the stored vectors of a bilinear method teach? Their products as pairs, and themselves.

Products of labelled vectors are labels that cost nothing, so a bilinear method is trained and
judged like a pairwise one; besides, a student of the vectors joins the candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from influence_store.errors import NotComputed, NotFound
from influence_store.jobs.cells import how_measured
from influence_store.jobs.label_rows import VECTORS
from influence_store.jobs.teachers import PairLesson, names, newest_embedder, newest_state
from influence_store.network.vector_ridge import TeacherVectors, fit_vectors

if TYPE_CHECKING:
    from influence_store.network.evaluate import Fit
    from influence_store.protocols import Floats, Ids
    from influence_store.schema.catalog import Producer
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

#: Samples per side whose products become pairs (16 fits of every network read them), and samples
#: whose vectors teach.
PAIR_SAMPLES, VECTOR_SAMPLES = 200, 4000


@dataclass(frozen=True)
class VectorLesson(PairLesson):
    """Products of vectors as pairs; `fit` is the student of the vectors, a candidate beside the
    networks of pairs. Its features must have one row per sid.
    """

    fit: Fit


def vector_lesson(
    store: Store, version: Version, targets: Version, method: str, *, seed: int = 0
) -> VectorLesson:
    """The newest vectors of `method` of `version` as sources and of `targets` as targets.

    A block of at most 200 × 200 samples, drawn by `seed`, becomes pairs. Where both sides are the
    same vectors no sample has both roles in it: else a target that is kept back would be known
    from its part as a source. NotFound, with the command that measures them, where none are stored.
    """
    source_side, target_side = _sides(store, version, targets, method)
    symmetric = source_side.id == target_side.id
    rng = np.random.default_rng(seed)
    sources = _measured(store, source_side, version, rng)
    aims = _measured(store, target_side, targets, rng)
    if not len(sources) or not len(aims):
        side, of = ("source", version) if not len(sources) else ("target", targets)
        raise NotComputed(f"no row of {of} has a {side} vector of {method}", hint=_hint(of, method))
    rows, columns = _roles(aims, sources, symmetric, rng)

    sids = np.union1d(aims, sources)
    vectors = TeacherVectors(
        targets=_placed(store, target_side, aims, sids),
        sources=_placed(store, source_side, sources, sids),
        symmetric=symmetric,
        extra=np.flatnonzero(~np.isin(sids, np.concatenate([rows, columns]))),
    )
    row, column = np.searchsorted(sids, rows), np.searchsorted(sids, columns)
    products = vectors.targets[row].astype(np.float64) @ vectors.sources[column].T
    return VectorLesson(
        method=source_side,
        output=method,
        sids=sids,
        targets=np.repeat(row, len(column)),
        sources=np.tile(column, len(row)),
        values=products.astype(np.float32).ravel(),
        embedder=newest_embedder(store, version),
        state=newest_state(store, sids),
        fit=partial(fit_vectors, vectors=vectors),
    )


def _sides(
    store: Store, version: Version, targets: Version, method: str
) -> tuple[Producer, Producer]:
    """The newest producer of source vectors, and that of the target vectors that fit them."""
    found = [one for one in store.producers(VECTORS) if one.name == method]
    sources = [one for one in found if one.facts["side"] in ("source", "both")]
    if not sources:
        known = names(store.producers(VECTORS))
        raise NotFound.named("label set", method, known, hint=_hint(version, method))
    newest = sources[-1]
    if newest.facts["side"] == "both":
        return newest, newest
    wanted = {**newest.facts, "side": "target"}
    fitting = [one for one in found if one.facts == wanted]
    if not fitting:
        raise NotComputed(f"no target vectors of {method} are stored", hint=_hint(targets, method))
    return newest, fitting[-1]


def _hint(version: Version, method: str) -> str:
    return (
        f"run: influence-store label {version} --method {method} --model PATH --targets {version} "
        "--rows 500"
    )


def _measured(store: Store, producer: Producer, version: Version, rng: np.random.Generator) -> Ids:
    """Sids of `version` with a measured vector, ascending; a fair draw of them if too many."""
    assert producer.id is not None
    known = np.asarray((version.bits & store.covered(producer.id)).to_array(), np.int64)
    known = known[how_measured(store, producer, known)["measured"]]
    return np.sort(rng.permutation(known)[:VECTOR_SAMPLES])


def _roles(aims: Ids, sources: Ids, symmetric: bool, rng: np.random.Generator) -> tuple[Ids, Ids]:
    """Sids that are targets and sids that are sources of pairs, at most 200 of each."""
    both = np.intersect1d(aims, sources)
    if symmetric and len(both):
        dealt = rng.permutation(both)
        half = len(dealt) // 2
        aims = np.setdiff1d(aims, dealt[:half])
        sources = np.setdiff1d(sources, dealt[half:])
    return rng.permutation(aims)[:PAIR_SAMPLES], rng.permutation(sources)[:PAIR_SAMPLES]


def _placed(store: Store, producer: Producer, known: Ids, sids: Ids) -> Floats:
    """One row per sid, NaN where the vector is not among `known`."""
    out = np.full((len(sids), producer.dim), np.nan, np.float32)
    out[np.searchsorted(sids, known)] = store.vectors(producer, known)
    return out
