"""`select`: an ordered choice of samples from stored values, with its baselines beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyroaring import BitMap
from sqlmodel import Session

from influence_store.errors import UsageError
from influence_store.jobs.cells import content_ids, response_chars
from influence_store.jobs.kernels import choose_kernel
from influence_store.schema import tables
from influence_store.schema.catalog import Selection
from influence_store.schema.identity import fingerprint
from influence_store.selection import FUNCTIONS
from influence_store.selection.baselines import compare, cosine_picks, top_by_mean
from influence_store.selection.budget import budget_count
from influence_store.selection.length import length_matched
from influence_store.selection.optimizers import LazyGreedy
from influence_store.selection.tiles import lower_bound
from influence_store.selection.views import Clipped, DenseView, SelfCovered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.jobs.kernels import Kernel
    from influence_store.protocols import Chosen, Ids, PairwiseView, SetFunction
    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store, Version

#: A kernel up to this size is held in memory; a bigger one is computed tile by tile.
MEMORY_BYTES = 4 << 30
PLAIN, TARGETED, CONDITIONAL = "facility-location", "flqmi", "flcg"


@dataclass(frozen=True)
class SelectReport:
    """A stored selection: `facts` hold everything needed to recompute and to judge it."""

    id: str
    dataset: str
    objective: str
    kernel: str
    n_items: int
    stored: Mapping[str, Any]
    notes: tuple[str, ...]
    reused: bool

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return {
            "id": self.id,
            "dataset": self.dataset,
            "objective": self.objective,
            "kernel": self.kernel,
            "items": self.n_items,
            "notes": list(self.notes),
            "reused": self.reused,
            **self.stored,
        }

    def lines(self) -> list[str]:
        """For people: what was chosen, and what the same objective says of cheap rivals."""
        told = self.stored["baselines"]
        known = " (known already)" if self.reused else ""
        on = "" if self.kernel == "none" else f" on {self.kernel}"
        head = [
            *[f"note: {note}" for note in self.notes],
            f"selection {self.id}: {self.n_items:,} samples of {self.dataset} by "
            f"{self.objective}{on}{known}",
        ]
        if told is None:
            return [*head, "  no baselines: the dataset has no embeddings yet"]
        random = told["random"]
        gains = {name: one["normalised_gain"] for name, one in told["references"].items()}
        versus = f"random ×{random['draws']}: {random['mean']:.4g} ± {random['sd']:.2g}"
        if "picks" in self.stored:
            best = told["references"]["cosine facility location"]["value"]
            lead = best - random["mean"]
            place = (told["value"] - random["mean"]) / lead if lead > 0 else float("nan")
            return [
                *head,
                f"  coverage by cosine: {told['value']:.4g}; {versus}",
                f"  way from random (0) to cosine facility location (1): {place:+.2f}",
            ]
        rivals = [f"{name} {gain:+.2f}" for name, gain in gains.items() if gain is not None]
        return [
            *head,
            f"  value {told['value']:.4g}; {versus}",
            f"  way from random (0) to this selection (1): {', '.join(rivals)}",
            f"  {told['nonzero_gain_picks']} of {self.n_items} picks gained something",
        ]


def select(
    store: Store,
    version: Version,
    budget: str,
    *,
    objective: str | None = None,
    kernel: str | None = None,
    target: Version | None = None,
    given: Version | None = None,
    accept_weak: bool = False,
    seed: int = 0,
) -> SelectReport:
    """Choose `budget` samples of `version`, greedily and exactly, and store the order.

    With `target` the samples serve that dataset (FLQMI); with `given` they add to what that
    dataset covers already (FLCG); else they cover their own version (facility location). The
    same question on the same values is answered from the store.
    """
    versions = [one for one in (version, target, given) if one is not None]
    question = _Question(
        version=version,
        target=target,
        given=given,
        objective=_objective(objective, target, given),
        n_items=budget_count(budget, len(version.bits)),
        kernel=choose_kernel(store, versions, kernel, accept_weak=accept_weak),
        seed=seed,
    )
    identity = question.identity
    with store.claim("select", f"select:{identity}", question.inputs()) as run:
        reused = _stored(store, identity) is not None
        if not reused:
            _answer(store, run, question)
        run.report({"selection": identity, "reused": reused}, {})
    row = _stored(store, identity)
    assert row is not None
    return SelectReport(
        id=row.id,
        dataset=str(version),
        objective=row.objective,
        kernel=row.kernel,
        n_items=row.n_items,
        stored=row.facts,
        notes=question.kernel.notes,
        reused=reused,
    )


@dataclass(frozen=True)
class _Question:
    """All that decides a selection; equal questions have equal identities."""

    version: Version
    target: Version | None
    given: Version | None
    objective: str
    n_items: int
    kernel: Kernel
    seed: int

    def inputs(self) -> dict[str, Any]:
        """As stored, to recompute the selection from."""
        return {
            "dataset": str(self.version),
            "rows": _digest(self.version),
            "objective": self.objective,
            "kernel": self.kernel.producer.fingerprint,
            "target": _digest(self.target) if self.target else None,
            "given": _digest(self.given) if self.given else None,
            "budget": self.n_items,
            "seed": self.seed,
            "optimizer": "lazy-greedy",
        }

    @property
    def identity(self) -> str:
        """12 hex digits: the selection's id."""
        return fingerprint(self.inputs())[:12]


def _answer(store: Store, run: ActiveRun, question: _Question) -> None:
    """Choose, compare with the baselines, and publish the order."""
    function, view = _function(question)
    chosen = LazyGreedy().maximize(function, question.n_items)
    references = {
        "cosine facility location": _cosine_picks(question, chosen),
        "top by mean": top_by_mean(view, question.n_items),
        "length-matched random": _length_matched(store, question, chosen),
    }
    baselines = compare(function, chosen, references, seed=question.seed).facts()
    sids = question.version.sids[chosen.items]
    block = run.stage(
        "selection",
        [_batch(sids, chosen)],
        tables.SELECTION,
        BitMap(sids.astype(np.uint32)),
    )

    def more(session: Session, block_ids: list[int]) -> None:
        session.add(
            Selection(
                id=question.identity,
                dataset_version_id=question.version.id,
                block_id=block_ids[0],
                objective=question.objective,
                kernel=question.kernel.name,
                n_items=len(sids),
                facts={
                    "inputs": question.inputs(),
                    "function": dict(function.facts),
                    "baselines": baselines,
                },
                run_id=run.id,
                created_at=store.database.now(session),
            )
        )

    run.publish([block], more)


def _objective(name: str | None, target: Version | None, given: Version | None) -> str:
    if target and given:
        raise UsageError("--target and --given cannot be combined yet", hint="choose one of them")
    fitting = TARGETED if target else CONDITIONAL if given else PLAIN
    if name is not None and name not in FUNCTIONS.entries():
        FUNCTIONS.get(name)  # NotFound with the nearest names
    if name not in (None, fitting):
        needs = {TARGETED: "--target D", CONDITIONAL: "--given D", PLAIN: "neither of them"}
        wanted = needs.get(str(name), "another call")
        raise UsageError(f"objective {name} needs {wanted}", hint=f"or leave it out: {fitting}")
    return fitting


def _function(question: _Question) -> tuple[SetFunction[Any], PairwiseView]:
    """The set function over the samples of the version, and the view it reads."""
    kernel, sources = question.kernel, question.version.sids
    if question.target is not None:
        served = Clipped(kernel.view(question.target.sids, sources))
        dense = DenseView.of(served, MEMORY_BYTES)
        return FUNCTIONS.get(TARGETED)(dense), dense
    own = DenseView.of(kernel.view(sources, sources), MEMORY_BYTES)
    # A sample's own pair is no estimate; by cosine it is 1 by definition.
    view: PairwiseView = own if kernel.is_cosine else SelfCovered(own)
    if question.given is None:
        return FUNCTIONS.get(PLAIN)(view, lower_bound(view)), view
    covered = Clipped(kernel.view(sources, question.given.sids))
    return FUNCTIONS.get(CONDITIONAL)(Clipped(view), covered), view


def _cosine_picks(question: _Question, chosen: Chosen) -> Ids:
    """What cosine alone would pick for plain coverage; that may be the very selection."""
    kernel, sources = question.kernel, question.version.sids
    if kernel.is_cosine and question.objective == PLAIN:
        return chosen.items
    cosine = DenseView.of(kernel.cosine(sources, sources), MEMORY_BYTES)
    return cosine_picks(cosine, len(chosen.items))


def _length_matched(store: Store, question: _Question, chosen: Chosen) -> Ids:
    """A random set with the response lengths of the chosen ones: did length do it?"""
    sids = question.version.sids
    lengths = response_chars(store, sids)
    picks = length_matched(
        len(chosen.items),
        lengths=lengths,
        like=lengths[chosen.items],
        ids=content_ids(store, sids),
        seed=question.seed,
    )
    return picks.items


def _digest(version: Version) -> str:
    return fingerprint({"bits": version.bits.serialize().hex()})


def _batch(sids: Ids, chosen: Chosen) -> pa.RecordBatch:
    arrays = [pa.array(np.arange(1, len(sids) + 1)), pa.array(sids), pa.array(chosen.gains)]
    return pa.record_batch(arrays, schema=tables.SELECTION)


def _stored(store: Store, identity: str) -> Selection | None:
    with store.database.read() as session:
        return session.get(Selection, identity)
