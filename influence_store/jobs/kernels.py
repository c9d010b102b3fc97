"""Which kernel does a selection stand on? A trusted estimator, or cosine, and we say which."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pyroaring import BitMap

from influence_store.counted import agree, counted
from influence_store.errors import Incompatible, NotFound
from influence_store.influence import METHODS
from influence_store.jobs.cells import how_measured
from influence_store.jobs.estimators import find_estimator, is_called, trained_estimators
from influence_store.jobs.evaluate import known_transfer
from influence_store.jobs.pair_kernel import PREFIX, pair_view, pairs_producer
from influence_store.selection.views import CosineView, EstimatorView, ProductView

if TYPE_CHECKING:
    from influence_store.jobs.estimators import Trained
    from influence_store.network.onnx_estimator import OnnxEstimator
    from influence_store.protocols import Ids, PairwiseView
    from influence_store.schema.catalog import Producer
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

COSINE, SE = "cosine", "delift-se"
COSINE_OF = f"{COSINE}:"
#: Verdicts of an accuracy card that a selection may rely on unasked.
TRUSTED = ("trusted",)


@dataclass(frozen=True)
class Kernel:
    """A kernel by name; `notes` say aloud why it is this one, `embedder` gives its cosine.

    `producer` is the embedder, an estimator, the source side of a bilinear method, whose other side
    is `target_side`, or a pairwise method, whose labels of `output` are the kernel. `versions` are
    those that it was chosen for, the pool first.
    """

    store: Store
    name: str
    producer: Producer
    embedder: Producer
    estimator: OnnxEstimator | None = None
    target_side: Producer | None = None
    output: str | None = None
    notes: tuple[str, ...] = ()
    versions: tuple[Version, ...] = ()

    @property
    def is_cosine(self) -> bool:
        """Whether this is the free kernel."""
        return self.producer.id == self.embedder.id

    def view(self, targets: Ids, sources: Ids) -> PairwiseView:
        """S for the sids `targets` × `sources` from stored vectors or labels.

        Incompatible if a bilinear method has no vector of a row for the side that it is asked for:
        which sides a version needs is the set function's business.
        """
        if self.output is not None:
            return pair_view(self.store, self.producer, self.output, targets, sources)
        if self.target_side is not None:
            self._demand("target", self.target_side, targets)
            self._demand("source", self.producer, sources)
            return ProductView(
                self.store.vectors(self.target_side, targets),
                self.store.vectors(self.producer, sources),
            )
        if self.estimator is None:
            return self.cosine(targets, sources)
        return EstimatorView(
            self.store.vectors(self.producer, targets, "target_vector"),
            self.store.vectors(self.producer, sources, "source_vector"),
            self.estimator.influence,
            # The head tiles by itself: it needs the answer and its copy, not width times that.
            pair_bytes=16,
        )

    def _demand(self, side: str, producer: Producer, sids: Ids) -> None:
        lacking = BitMap(sids) - self.store.covered(producer.id or 0)
        if lacking:
            whose = next((one for one in self.versions if lacking <= one.bits), self.versions[0])
            pool = self.versions[0] if side == "target" else whose
            raise Incompatible(
                f"{counted(len(lacking), 'row')} of {whose} "
                f"{agree(len(lacking), 'has', 'have')} no {side} vector of {self.name}",
                hint=_label_hint(self.name, pool, whose),
            )

    def cosine(self, targets: Ids, sources: Ids) -> PairwiseView:
        """The free kernel: cosine of the stored embeddings."""
        vectors = self.store.vectors(self.embedder, sources)
        same = len(targets) == len(sources) and bool((targets == sources).all())
        return CosineView(vectors if same else self.store.vectors(self.embedder, targets), vectors)


def choose_kernel(
    store: Store,
    versions: list[Version],
    name: str | None,
    *,
    accept_weak: bool,
    fingerprint: str | None = None,
) -> Kernel:
    """The kernel called `name`; by default the newest estimator that covers `versions`.

    Of several embedders or estimators of a name the one with this `fingerprint`, else the newest;
    `cosine:NAME` is cosine of the embedder of that name.
    An estimator whose card does not say `trusted` gives way to cosine, with a note, unless
    `accept_weak`. NotFound if `name` is no kernel, Incompatible if it lacks rows of a version.
    """
    wanted = name.removeprefix(COSINE_OF) if name and name.startswith(COSINE_OF) else None
    embedder, notes = _embedder(store, versions, fingerprint, wanted)
    cosine = Kernel(store, name if name and wanted else COSINE, embedder, embedder, notes=notes)
    if name in (COSINE, SE) or wanted:
        return cosine
    if name is not None and (sides := bilinear_sides(store, name)) is not None:
        return _bilinear(store, versions, name, sides, embedder)
    if name is not None and getattr(METHODS.entries().get(name), "kind", "") == "bilinear":
        raise Incompatible(
            f"the store holds no vectors of {name}",
            hint=_label_hint(name, versions[0], versions[1] if versions[1:] else versions[0]),
        )
    if name is not None and name.startswith(PREFIX):
        labels, output, unscored = pairs_producer(store, name)
        lost = counted(unscored, "labelled pair")
        told = [f"{lost} could not be scored: worth 0"] if unscored else []
        return Kernel(store, name, labels, embedder, output=output, notes=tuple(told))
    trained = _estimator(store, versions, name, fingerprint)
    if trained is None:
        return cosine
    verdict, notes = _verdict_on(store, trained, versions[0])
    if verdict not in TRUSTED and not accept_weak:
        note = (
            f"estimator {trained.producer.name} is {verdict!r}: falling back to cosine "
            "(--accept-weak uses it all the same)"
        )
        return replace(cosine, notes=(*notes, note, *cosine.notes))
    producer = trained.producer
    return Kernel(
        store, producer.name, producer, trained.embedder, trained.open(store), notes=notes
    )


def _verdict_on(store: Store, trained: Trained, version: Version) -> tuple[str, tuple[str, ...]]:
    """The verdict that counts for `version`, and what to say about where it comes from.

    On a dataset that it was not trained on, that of `evaluate --on` there, if anybody ran it.
    """
    if trained.row.dataset_version_id is None:
        home = f"{trained.origin['dataset']} of another store"
    else:
        home = store.version_by_id(trained.row.dataset_version_id).dataset
        if home == version.dataset:
            return trained.row.verdict, ()
    name = trained.producer.name
    known = known_transfer(store, trained, version.dataset)
    if known is None:
        told = (
            f"estimator {name} was trained on {home} and never measured on {version.dataset}: "
            f"influence-store evaluate {name} --on {version.dataset}"
        )
        return trained.row.verdict, (told,)
    rank = known["card"]["spearman"]
    told = (
        f"estimator {name} was trained on {home}; on {version.dataset} its rank ρ is "
        f"{rank['mean']:.2f} [{rank['low']:.2f}, {rank['high']:.2f}]"
    )
    return known["verdict"], (told,)


def bilinear_sides(store: Store, name: str) -> tuple[Producer, Producer | None] | None:
    """The newest source-side vectors of the method `name`, and the target side that fits them.

    None if the store holds no vectors of that name; the target side is None until labelled.
    """
    found = [one for one in store.producers("vectors") if one.name == name]
    sources = [one for one in found if one.facts["side"] in ("source", "both")]
    if not sources:
        return None
    newest = sources[-1]
    wanted = newest.facts if newest.facts["side"] == "both" else {**newest.facts, "side": "target"}
    return newest, next((one for one in found if one.facts == wanted), None)


def _bilinear(
    store: Store,
    versions: list[Version],
    name: str,
    sides: tuple[Producer, Producer | None],
    embedder: Producer,
) -> Kernel:
    sources, targets = sides
    pool, served = versions[0], versions[1] if versions[1:] else versions[0]
    if targets is None:
        raise Incompatible(
            f"{len(served.bits):,} rows of {served} have no target vector of {name}",
            hint=_label_hint(name, pool, served),
        )
    known = [one for one in versions if not _missing(store, sources, [one])]
    unmeasured = sum(
        int((~how_measured(store, sources, version.sids)["measured"]).sum()) for version in known
    )
    note = f"{counted(unmeasured, 'row')} could not be measured by {name}: worth 0 to everybody"
    return Kernel(
        store,
        name,
        sources,
        embedder,
        target_side=targets,
        notes=(note,) if unmeasured else (),
        versions=tuple(versions),
    )


def _label_hint(name: str, pool: Version, served: Version) -> str:
    return (
        f"run: influence-store label {pool} --method {name} --model M --targets {served} --rows all"
    )


def _estimator(
    store: Store, versions: list[Version], name: str | None, fingerprint: str | None
) -> Trained | None:
    if name is None:
        covering = [
            one for one in trained_estimators(store) if not _missing(store, one.producer, versions)
        ]
        return covering[-1] if covering else None
    every = trained_estimators(store)
    known = [one for one in every if one.producer.fingerprint == fingerprint]
    if not known and not any(is_called(one.producer, name) for one in every):
        stored = [one.name for one in store.producers("vectors")]
        names = {COSINE, *(one.producer.name for one in every), *stored}
        raise NotFound.named("kernel", name, names, hint="see: influence-store select --help")
    trained = known[0] if known else find_estimator(store, name)
    if not trained.of_pairs:
        trained.open(store)  # says what a score is good for instead
    if missing := _missing(store, trained.producer, versions):
        raise Incompatible(
            f"{name} has no estimate for {counted(missing[1], 'row')} of {missing[0]}",
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


def _embedder(
    store: Store, versions: list[Version], fingerprint: str | None, wanted: str | None
) -> tuple[Producer, tuple[str, ...]]:
    """The embedder that is `wanted` by name or has this fingerprint, else the newest, and notes.

    It has a vector for every row of `versions`. Which one it is, is noted where nobody said and
    several could be meant.
    """
    newest_first = store.producers("embedding")[::-1]
    if wanted is not None:
        called = [one for one in newest_first if is_called(one, wanted)]
        if not called:
            known = {f"{COSINE_OF}{one.name}" for one in newest_first}
            raise NotFound.named("kernel", f"{COSINE_OF}{wanted}", known)
        newest_first = called
    fitting = [one for one in newest_first if not _missing(store, one, versions)]
    if not fitting:
        raise _not_embedded(versions, wanted)
    others = dict.fromkeys(one.name for one in fitting if one.name != fitting[0].name)
    if fingerprint is not None or wanted is not None or not others:
        same = (one for one in fitting if one.fingerprint == fingerprint)
        return next(same, fitting[0]), ()
    ways = " or ".join(f"--kernel {COSINE_OF}{name}" for name in others)
    told = f"cosine is of the newest embeddings, {fitting[0].name}; of others: {ways}"
    return fitting[0], (told,)


def _not_embedded(versions: list[Version], wanted: str | None) -> Incompatible:
    by = f" by {wanted}" if wanted else ""
    if len(versions) == 1:
        told = f"{versions[0]} has no complete embeddings{by}"
    elif wanted:
        told = f"{' and '.join(map(str, versions))} are not all embedded{by}"
    else:
        told = f"{' and '.join(map(str, versions))} have no embedder in common"
    return Incompatible(told, hint=f"run: influence-store embed {versions[0]} --embedder E")
