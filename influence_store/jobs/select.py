"""`select`: an ordered choice of samples from stored values, with its baselines beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyroaring import BitMap
from sqlmodel import Session

from influence_store.errors import UsageError
from influence_store.jobs.kernels import choose_kernel
from influence_store.schema import tables
from influence_store.schema.catalog import Selection
from influence_store.schema.identity import fingerprint
from influence_store.selection import FUNCTIONS
from influence_store.selection.baselines import compare, cosine_picks, top_by_mean
from influence_store.selection.budget import budget_count
from influence_store.selection.optimizers import LazyGreedy
from influence_store.selection.tiles import lower_bound
from influence_store.selection.views import Clipped, DenseView, SelfCovered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.jobs.kernels import Kernel
    from influence_store.protocols import Chosen, PairwiseView, SetFunction
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
        random = told["random"]
        gains = {name: one["normalised_gain"] for name, one in told["references"].items()}
        rivals = [f"{name} {gain:+.2f}" for name, gain in gains.items() if gain is not None]
        return [
            *[f"note: {note}" for note in self.notes],
            f"selection {self.id}: {self.n_items} of {told['n']} samples of {self.dataset}"
            + (" (known already)" if self.reused else ""),
            f"  {self.objective} on {self.kernel}: {told['value']:.4g}; random ×{random['draws']}: "
            f"{random['mean']:.4g} ± {random['sd']:.2g}",
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
    objective = _objective(objective, target, given)
    n_items = budget_count(budget, len(version.bits))
    others = [other for other in (target, given) if other is not None]
    chosen_kernel = choose_kernel(store, [version, *others], kernel, accept_weak=accept_weak)
    inputs = {
        "dataset": str(version),
        "rows": _digest(version),
        "objective": objective,
        "kernel": chosen_kernel.producer.fingerprint,
        "target": _digest(target) if target else None,
        "given": _digest(given) if given else None,
        "budget": n_items,
        "seed": seed,
        "optimizer": "lazy-greedy",
    }
    identity = fingerprint(inputs)[:12]
    known = _stored(store, identity)
    if known is not None:
        return _report(known, version, chosen_kernel, reused=True)
    with store.claim("select", f"select:{identity}", inputs) as run:
        function, view = _function(chosen_kernel, objective, version, target, given)
        chosen = LazyGreedy().maximize(function, n_items)
        references = {"top by mean": top_by_mean(view, n_items)}
        if chosen_kernel.estimator or objective != PLAIN:
            cosine = DenseView.of(chosen_kernel.cosine(version.sids, version.sids), MEMORY_BYTES)
            references["cosine facility location"] = cosine_picks(cosine, n_items)
        baselines = compare(function, chosen, references, seed=seed).facts()
        facts = {"inputs": inputs, "baselines": baselines, "function": dict(function.facts)}
        items = BitMap(version.sids[chosen.items].astype(np.uint32))
        block = run.stage("selection", [_batch(version, chosen)], tables.SELECTION, items)

        def more(session: Session, block_ids: list[int]) -> None:
            session.add(
                Selection(
                    id=identity,
                    dataset_version_id=version.id,
                    block_id=block_ids[0],
                    objective=objective,
                    kernel=chosen_kernel.name,
                    n_items=len(chosen.items),
                    facts=facts,
                    run_id=run.id,
                    created_at=store.database.now(session),
                )
            )

        run.publish([block], more)
        run.report({"selection": identity}, {})
    stored = _stored(store, identity)
    assert stored is not None
    return _report(stored, version, chosen_kernel, reused=False)


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


def _function(
    kernel: Kernel, objective: str, version: Version, target: Version | None, given: Version | None
) -> tuple[SetFunction[Any], PairwiseView]:
    """The set function over the samples of `version`, and the view it reads."""
    sources = version.sids
    if objective == TARGETED:
        assert target is not None
        served = DenseView.of(Clipped(kernel.view(target.sids, sources)), MEMORY_BYTES)
        return FUNCTIONS.get(TARGETED)(served), served
    own = DenseView.of(kernel.view(sources, sources), MEMORY_BYTES)
    # A sample's own pair is no estimate; by cosine it is 1 by definition.
    view: PairwiseView = SelfCovered(own) if kernel.estimator else own
    if objective == PLAIN:
        return FUNCTIONS.get(PLAIN)(view, lower_bound(view)), view
    assert given is not None
    return FUNCTIONS.get(CONDITIONAL)(
        Clipped(view), Clipped(kernel.view(sources, given.sids))
    ), view


def _digest(version: Version) -> str:
    return fingerprint({"bits": version.bits.serialize().hex()})


def _batch(version: Version, chosen: Chosen) -> pa.RecordBatch:
    sids = version.sids[chosen.items]
    arrays = [pa.array(np.arange(1, len(sids) + 1)), pa.array(sids), pa.array(chosen.gains)]
    return pa.record_batch(arrays, schema=tables.SELECTION)


def _stored(store: Store, identity: str) -> Selection | None:
    with store.database.read() as session:
        return session.get(Selection, identity)


def _report(row: Selection, version: Version, kernel: Kernel, *, reused: bool) -> SelectReport:
    return SelectReport(
        id=row.id,
        dataset=str(version),
        objective=row.objective,
        kernel=row.kernel,
        n_items=row.n_items,
        stored=row.facts,
        notes=kernel.notes,
        reused=reused,
    )
