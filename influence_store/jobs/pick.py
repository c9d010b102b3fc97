"""`select` without a kernel: selectors that read stored columns, chance among them.

Each is told beside what coverage by cosine makes of it: a selector that wins on its own score may
lose to random on coverage, and most published ones lose to random downstream.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.errors import Incompatible, NotFound, UsageError
from influence_store.jobs.ask_again import LIKE
from influence_store.jobs.cells import content_ids, how_measured, response_chars
from influence_store.jobs.kernels import COSINE, choose_kernel
from influence_store.jobs.options import check_options
from influence_store.jobs.problem import JUDGED, some_of
from influence_store.jobs.proof import proof
from influence_store.jobs.publish_selection import new_selection, publish_selection
from influence_store.jobs.question import digest
from influence_store.jobs.select import MEMORY_BYTES, stored
from influence_store.jobs.select_report import SelectReport
from influence_store.protocols import Chosen
from influence_store.query.views import Cells, cells_of
from influence_store.schema.identity import fingerprint
from influence_store.selection import SELECTORS
from influence_store.selection.budget import budget_count
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.limits import Limits
from influence_store.selection.picks import inputs_of
from influence_store.selection.plan import SCREENED_BYTES_PER_PAIR
from influence_store.selection.tiles import lower_bound
from influence_store.selection.views import screened
from influence_store.store.selections import find_selection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from influence_store.protocols import Ids
    from influence_store.selection.picks import Picks
    from influence_store.store.store import Store
    from influence_store.store.versions import Version


@dataclass(frozen=True)
class Columns:
    """Which stored columns a selector may read, as named on the command line."""

    by: str | None = None
    like: str | None = None
    vectors: str | None = None


def pick(
    store: Store,
    version: Version,
    budget: str,
    name: str,
    *,
    columns: Columns = Columns(),
    options: Mapping[str, Any] | None = None,
    given: Version | None = None,
    seed: int = 0,
) -> SelectReport:
    """Choose `budget` samples of `version` with the selector called `name`; store the order.

    With `given` the choice adds to that dataset, for a selector that can start from samples; its
    rows are not chosen again (a round of DiverseEvol is K-center given the earlier rounds).

    UsageError where a column that the selector reads is not named, NotFound where it is not
    stored. The same question on the same values is answered from the store.
    """
    selector = SELECTORS.get(name)
    n_items = budget_count(budget, len(version.bits))
    settings = dict(options or {})
    pool = version
    if given is not None:
        if "start" not in inspect.signature(selector).parameters:
            raise UsageError(f"{name} cannot add to a dataset", hint="k-center and flcg can")
        pool = replace(version, bits=version.bits | given.bits)
        settings["start"] = np.flatnonzero(np.isin(pool.sids, given.sids))
    read = {one: _READ[one](store, pool, columns, seed) for one in inputs_of(selector)}
    inputs = {
        "dataset": str(version),
        "rows": digest(version),
        "given": digest(given) if given else None,
        "objective": name,
        "kernel": ", ".join(source for _, source in read.values() if source) or None,
        "budget": n_items,
        "options": dict(options or {}),
        "seed": seed,
    }
    identity = fingerprint(inputs)[:12]
    with store.claim("select", f"select:{identity}", inputs) as run:
        reused = stored(store, identity) is not None
        if not reused:
            values = {one: value for one, (value, _) in read.items()}
            picks = _called(selector, n_items, values, settings)
            sids = pool.sids[picks.items]
            baselines = _coverage(store, version, sids, seed)
            facts = {"inputs": inputs, "picks": dict(picks.facts), "baselines": baselines}
            on = str(inputs["kernel"] or "none")
            made = new_selection(identity, version, name, on, len(sids), facts)
            publish_selection(store, run, made, sids, picks.gains)
        run.report({"selection": identity, "reused": reused}, {})
    row = stored(store, identity)
    assert row is not None
    return SelectReport(
        row.id, str(version), row.objective, row.kernel, row.n_items, row.facts, (), reused
    )


def _called(
    selector: Callable[..., Picks],
    n_items: int,
    values: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Picks:
    check_options("this selector", selector, options, {"budget", *values})
    try:
        return selector(n_items, **values, **options)
    except (TypeError, ValueError) as error:
        raise UsageError(f"the selector refuses: {error}") from error


def _coverage(store: Store, version: Version, sids: Ids, seed: int) -> dict[str, Any] | None:
    """What facility location by cosine makes of the picks, beside rivals; None unembedded."""
    try:
        kernel = choose_kernel(store, [version], COSINE, accept_weak=False)
    except Incompatible:
        return None
    whole = version.sids
    fits_memory = SCREENED_BYTES_PER_PAIR * len(whole) ** 2 <= MEMORY_BYTES
    targets = whole if fits_memory else some_of(whole, JUDGED, seed)
    view = screened(kernel.cosine(targets, whole), MEMORY_BYTES)
    items = np.asarray(np.searchsorted(whole, sids), np.int64)
    return proof(
        store,
        version,
        kernel,
        FacilityLocation(view, lower_bound(view)),
        Chosen(items, np.zeros(len(sids)), 0),
        Limits(len(items)),
        view=view,
        is_cosine_fl=False,
        weight=len(whole) / len(targets),
        memory=MEMORY_BYTES,
        seed=seed,
    )


# -- what selectors read: (store, version, columns, seed) → the values and where they come from ----

_Source = tuple[Any, str | None]


def _ids(store: Store, version: Version, _columns: Columns, _seed: int) -> _Source:
    return content_ids(store, version.sids), None


def _seed(_store: Store, _version: Version, _columns: Columns, seed: int) -> _Source:
    return seed, None


def _scores(store: Store, version: Version, columns: Columns, _seed: int) -> _Source:
    known = Cells.of(store).scalars
    if columns.by is None:
        raise UsageError(
            "this selector needs a score", hint=f"say which: --by {' | '.join(known) or 'inf_…'}"
        )
    if columns.by not in known:
        raise NotFound.named("column", columns.by, known, hint="see: influence-store status")
    producer, column = known[columns.by]
    found = cells_of(store, producer, column, version)
    by_sid = dict(zip(found["sid"].to_list(), found[column].to_list(), strict=True))
    values = [by_sid.get(sid) for sid in version.sids.tolist()]
    return np.array(values, np.float64), f"{columns.by}:{producer.fingerprint}"


def _lengths(store: Store, version: Version, _columns: Columns, _seed: int) -> _Source:
    return response_chars(store, version.sids), "response_chars"


def _like(store: Store, _version: Version, columns: Columns, _seed: int) -> _Source:
    if columns.like is None:
        raise UsageError("which lengths to resemble?", hint="say: --like SELECTION")
    row = find_selection(store.database, columns.like)
    block = [one for one in store.blocks("selection") if one.id == row.block_id]
    sids = np.asarray(block[0].bits.to_array(), np.int64)
    return response_chars(store, sids), f"{LIKE}{row.id}"


def _vectors(store: Store, version: Version, columns: Columns, _seed: int) -> _Source:
    name = columns.vectors
    stored = [*store.producers("embedding"), *store.producers("vectors")]
    complete = [one for one in stored if not store.missing(version, one)]
    fitting = [one for one in complete if name in (None, one.name)]
    if not fitting:
        names = sorted({one.name for one in complete})
        raise NotFound.named("complete vector column", name or "embedding", names)
    vectors = store.vectors(fitting[-1], version.sids)
    if fitting[-1].kind == "vectors":
        vectors[~how_measured(store, fitting[-1], version.sids)["measured"]] = np.nan
    return vectors, fitting[-1].fingerprint


_READ: dict[str, Callable[[Store, Version, Columns, int], _Source]] = {
    "ids": _ids,
    "seed": _seed,
    "scores": _scores,
    "lengths": _lengths,
    "like": _like,
    "vectors": _vectors,
}
