"""`frontier SELECTION`: what does more budget buy? Gain against samples and tokens.

The picks of greedy stand in the order of their worth, so every prefix is the selection for that
smaller budget: one stored order answers for all of them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pyroaring import BitMap

from influence_store.errors import UsageError
from influence_store.jobs.stored_selection import stored_selection
from influence_store.output import table_lines
from influence_store.selection.budget import parse_budget
from influence_store.selection.curve_plot import curve_plot
from influence_store.selection.frontier import milestones

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.protocols import Doubles, Ids
    from influence_store.selection.frontier import Milestone
    from influence_store.store.store import Store

#: Their picks do not depend on how many are to follow.
_GREEDY = ("lazy-greedy", "naive-greedy")
#: What a sample costs where nothing better is stored: characters of prompt and response.
CHARACTERS = "characters"


@dataclass(frozen=True)
class FrontierReport:
    """The value of the first picks of a selection beside what they cost in `unit`."""

    selection: str
    dataset: str
    objective: str
    unit: str
    points: tuple[Milestone, ...]
    curve: tuple[str, ...]
    notes: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        points = [
            {**asdict(one), "share": None if np.isnan(one.share) else one.share}
            for one in self.points
        ]
        told = {"selection": self.selection, "dataset": self.dataset, "objective": self.objective}
        return {**told, "unit": self.unit, "notes": list(self.notes), "points": points}

    def lines(self) -> list[str]:
        """For people: a table, and the curve over the cost."""
        rows = [(one.n, round(one.cost), one.value, f"{one.share:.1%}") for one in self.points]
        return [
            *[f"note: {note}" for note in self.notes],
            f"selection {self.selection} of {self.dataset} by {self.objective}: value of its first "
            "samples",
            *table_lines(["samples", self.unit, "value", "share"], rows),
            "",
            *self.curve,
        ]


def frontier(store: Store, selection: str, *, n_points: int = 10) -> FrontierReport:
    """Gain against cost along the order of a stored selection, at `n_points` budgets.

    The cost is in tokens where token counts are stored for all picks, else in characters.
    UsageError for a selector's order, whose gains do not add up.
    """
    stored = stored_selection(store, selection)
    facts = stored.row.facts
    if "function" not in facts:
        raise UsageError(
            f"selection {stored.row.id} was made by {stored.row.objective}, whose values do not "
            "add up to a curve",
            hint="a selection by a set function has one: influence-store select "
            f"{stored.version} --budget 10%",
        )
    costs, unit = _costs(store, stored.sids)
    value, spent = np.cumsum(stored.gains), np.cumsum(costs)
    whole = float(value[-1]) if value[-1] > 0 else 1.0
    curve = curve_plot(spent, value / whole, x_label=unit, y_label="gain")
    return FrontierReport(
        selection=stored.row.id,
        dataset=str(stored.version),
        objective=stored.row.objective,
        unit=unit,
        points=milestones(stored.gains, costs, n_points),
        curve=tuple(curve),
        notes=_notes(facts["inputs"]),
    )


def _notes(asked: Mapping[str, Any]) -> tuple[str, ...]:
    """Whether the first picks are what `select` would answer to a smaller budget."""
    above = ("values count from where the neighbour index ends",)
    notes = above if asked["path"] == "neighbours" else ()
    if asked["optimizer"] not in _GREEDY:
        return (*notes, f"{asked['optimizer']} would answer smaller budgets with other samples")
    if parse_budget(asked["budget"]).tokens is not None:
        told = "of the two orders that a budget of tokens tries, another may win for a smaller one"
        return (*notes, told)
    if asked["quotas"]:
        told = "the quotas hold for the whole; smaller budgets would be answered otherwise"
        return (*notes, told)
    return (*notes, "every row is also the answer to that smaller budget")


def _costs(store: Store, sids: Ids) -> tuple[Doubles, str]:
    """What each pick costs, in the order of `sids`, and the unit."""
    for producer in reversed(store.producers("tokens")):
        assert producer.id is not None
        if not BitMap(sids.astype(np.uint32)) - store.covered(producer.id):
            blocks = store.blocks("tokens", producer_id=producer.id)
            return _summed(store, blocks, sids, ("n_tokens",)), "tokens"
    columns = ("prompt_chars", "response_chars")
    return _summed(store, store.blocks("samples"), sids, columns), CHARACTERS


def _summed(store: Store, blocks: list[Any], sids: Ids, columns: tuple[str, ...]) -> Doubles:
    """Σ of `columns` of each sid."""
    found: dict[int, float] = {}
    for batch in store.scan(blocks, ["sid", *columns], BitMap(sids.astype(np.uint32))):
        total = sum(batch[name].to_numpy().astype(np.float64) for name in columns)
        found.update(zip(batch["sid"].to_pylist(), np.asarray(total).tolist(), strict=True))
    return np.array([found[sid] for sid in sids.tolist()], np.float64)
