"""What the pages tell of selections: how one was made, its rivals, its curve and its picks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.jobs.explained import Named
from influence_store.jobs.frontier import frontier
from influence_store.jobs.select_report import SelectReport
from influence_store.jobs.stored_selection import names_of, stored_selection
from influence_store.jobs.trial_past import comparisons_of
from influence_store.serve.curve import Curve, curve
from influence_store.store.selections import all_selections

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.jobs.frontier import FrontierReport
    from influence_store.jobs.stored_selection import StoredSelection
    from influence_store.schema.catalog import Selection
    from influence_store.store.store import Store

PICKS = 50


@dataclass(frozen=True)
class Line:
    """One selection in a list. `over_random` is its value in deviations above random sets."""

    id: str
    dataset: str
    objective: str
    kernel: str
    budget: str
    n_items: int
    created_at: float
    over_random: float | None


@dataclass(frozen=True)
class Rival:
    """A set of the same size judged by the same objective.

    `way` is the way from random (0) to this selection (1) that it goes, None where undefined.
    """

    name: str
    value: float
    way: float | None
    note: str = ""


@dataclass(frozen=True)
class Tried:
    """A model trained on it and one trained on `against`: the difference in `unit`.

    Above 0 this selection is better; `mean`, `low` and `high` are None where one seed told nothing.
    """

    trial: str
    learner: str
    held: int
    held_out_of: str
    against: str
    verdict: str
    unit: str
    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class SelectionPage:
    """One selection: `told` is what `select` said of it, `picks` are those of one page."""

    line: Line
    told: tuple[str, ...]
    inputs: dict[str, str]
    rivals: tuple[Rival, ...]
    tried: tuple[Tried, ...]
    curve: Curve | None
    frontier: FrontierReport | None
    picks: tuple[tuple[Named, float | None], ...]
    pages: int


def selection_lines(store: Store) -> list[Line]:
    """Every selection, newest first."""
    return [_line(store, row) for row in all_selections(store.database)]


def selection_page(store: Store, name: str, page: int) -> SelectionPage:
    """The selection whose id begins with `name`, and its picks of `page` (from 1)."""
    stored = stored_selection(store, name)
    row, adds_up = stored.row, "function" in stored.row.facts
    report = SelectReport.of(row, str(stored.version), (), reused=False)
    return SelectionPage(
        line=_line(store, row),
        told=tuple(one.strip() for one in report.lines()[1:]),
        inputs=_inputs(row.facts.get("inputs", {})),
        rivals=tuple(_rivals(row.facts.get("baselines"))),
        tried=tuple(_tried(store, row.id)),
        curve=curve(stored.gains) if adds_up else None,
        frontier=frontier(store, row.id) if adds_up else None,
        picks=_picks(store, stored, page),
        pages=max(1, -(-len(stored.sids) // PICKS)),
    )


def _line(store: Store, row: Selection) -> Line:
    told = row.facts.get("baselines")
    over = None
    if told and told["random"]["sd"] > 0:
        over = (told["value"] - told["random"]["mean"]) / told["random"]["sd"]
    return Line(
        id=row.id,
        dataset=str(store.version_by_id(row.dataset_version_id)),
        objective=row.objective,
        # A selector without a kernel keeps the fingerprint of what it stood on.
        kernel=row.kernel if "function" in row.facts else "",
        budget=str(row.facts.get("inputs", {}).get("budget", row.n_items)),
        n_items=row.n_items,
        created_at=row.created_at,
        over_random=over,
    )


def _inputs(asked: dict[str, Any]) -> dict[str, str]:
    """What was asked for, without what was left at nothing and what only a machine reads."""
    told = {}
    for name, value in asked.items():
        if name in ("rows", "limits", "kernel", "parts") or value in (None, "", [], {}, False):
            continue
        listed = value if isinstance(value, list) else [value]
        told[name.replace("_", " ")] = ", ".join(map(_spelled, listed))
    return told


def _spelled(value: Any) -> str:
    """A dataset by its name, with its weight where it has one of its own."""
    if not isinstance(value, dict):
        return str(value)
    if "dataset" in value:
        weight = value.get("weight", 1)
        return str(value["dataset"]) if weight == 1 else f"{value['dataset']} (weight {weight:g})"
    return ", ".join(f"{key} = {one}" for key, one in value.items())


def _rivals(told: dict[str, Any] | None) -> list[Rival]:
    """Highest value first."""
    if not told:
        return []
    random = told["random"]
    spread = f"{random['draws']} draws, ± {random['sd']:.3g}"
    rivals = [
        Rival("this selection", told["value"], 1.0 if told["value"] > random["mean"] else None),
        Rival("random sets", random["mean"], 0.0, spread),
    ]
    lead = told["value"] - random["mean"]
    for name, one in told["references"].items():
        way = (one["value"] - random["mean"]) / lead if lead > 0 else None
        rivals.append(Rival(name, one["value"], way))
    return sorted(rivals, key=lambda one: -one.value)


def _tried(store: Store, selection: str) -> Iterator[Tried]:
    """The newest trial first, each against every baseline."""
    for told, one in comparisons_of(store, selection):
        ends: dict[str, Any] = {name: one.get(name) for name in ("mean", "low", "high")}
        yield Tried(
            **{name: told[name] for name in ("trial", "learner", "held", "held_out_of", "unit")},
            **{name: one[name] for name in ("against", "verdict")},
            **ends,
        )


def _picks(
    store: Store, stored: StoredSelection, page: int
) -> tuple[tuple[Named, float | None], ...]:
    part = slice((page - 1) * PICKS, page * PICKS)
    sids, gains = stored.sids[part].tolist(), stored.gains[part].tolist()
    names = names_of(store, sids)
    return tuple(
        (
            Named(names.ids[sid], names.prompts[sid], part.start + k + 1),
            None if np.isnan(gain) else gain,
        )
        for k, (sid, gain) in enumerate(zip(sids, gains, strict=True))
    )
