"""Which kernel does a selection stand on? A trusted estimator, or cosine, and we say which."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from influence_store.errors import Incompatible
from influence_store.jobs.estimators import find_estimator, trained_estimators
from influence_store.selection.views import CosineView, EstimatorView

if TYPE_CHECKING:
    from influence_store.jobs.estimators import Trained
    from influence_store.network.onnx_estimator import OnnxEstimator
    from influence_store.protocols import Ids, PairwiseView
    from influence_store.schema.catalog import Producer
    from influence_store.store.store import Store, Version

COSINE = "cosine"
#: Verdicts of an accuracy card that a selection may rely on unasked.
TRUSTED = ("trusted",)


@dataclass(frozen=True)
class Kernel:
    """A kernel by name; `notes` say aloud why it is this one, `embedder` gives its cosine."""

    store: Store
    name: str
    producer: Producer
    embedder: Producer
    estimator: OnnxEstimator | None
    notes: tuple[str, ...] = ()

    def view(self, targets: Ids, sources: Ids) -> PairwiseView:
        """S for the sids `targets` × `sources` from stored vectors."""
        if self.estimator is None:
            return self.cosine(targets, sources)
        return EstimatorView(
            self.store.vectors(self.producer, targets, "target_vector"),
            self.store.vectors(self.producer, sources, "source_vector"),
            self.estimator.influence,
        )

    def cosine(self, targets: Ids, sources: Ids) -> PairwiseView:
        """The free kernel: cosine of the stored embeddings."""
        return CosineView(
            self.store.vectors(self.embedder, targets), self.store.vectors(self.embedder, sources)
        )


def choose_kernel(
    store: Store, versions: list[Version], name: str | None, *, accept_weak: bool
) -> Kernel:
    """The kernel called `name`; by default the newest estimator that covers `versions`.

    An estimator whose card does not say `trusted` gives way to cosine, with a note, unless
    `accept_weak`. NotFound if `name` is no kernel, Incompatible if it lacks rows of a version.
    """
    embedder = _embedder(store, versions)
    cosine = Kernel(store, COSINE, embedder, embedder, None)
    if name == COSINE:
        return cosine
    trained = _estimator(store, versions, name)
    if trained is None:
        return cosine
    if trained.row.verdict not in TRUSTED and not accept_weak:
        note = (
            f"estimator {trained.producer.name} is {trained.row.verdict!r}: falling back to "
            "cosine (--accept-weak uses it all the same)"
        )
        return replace(cosine, notes=(note,))
    producer = trained.producer
    return Kernel(store, producer.name, producer, trained.embedder, trained.open(store))


def _estimator(store: Store, versions: list[Version], name: str | None) -> Trained | None:
    if name is None:
        covering = [
            one for one in trained_estimators(store) if not _missing(store, one.producer, versions)
        ]
        return covering[-1] if covering else None
    trained = find_estimator(store, name)
    if missing := _missing(store, trained.producer, versions):
        raise Incompatible(
            f"{name} has no estimate for {missing[1]} rows of {missing[0]}",
            hint=f"run: influence-store fill {missing[0]} --estimator {name}",
        )
    return trained


def _missing(
    store: Store, producer: Producer, versions: list[Version]
) -> tuple[Version, int] | None:
    """The first version with rows that have no cell of `producer`, and how many."""
    assert producer.id is not None
    covered = store.covered(producer.id)
    for version in versions:
        if n_missing := len(version.bits - covered):
            return version, n_missing
    return None


def _embedder(store: Store, versions: list[Version]) -> Producer:
    """The newest embedder that has a vector for every row of every version."""
    for producer in reversed(store.producers("embedding")):
        if not _missing(store, producer, versions):
            return producer
    raise Incompatible(
        f"{' and '.join(map(str, versions))} have no embedder in common",
        hint=f"run: influence-store embed {versions[0]} --embedder E",
    )
