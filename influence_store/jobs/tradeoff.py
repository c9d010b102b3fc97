"""`frontier D --target A --target B`: what does serving one target cost the other?

Selections for weights from all of one to all of the other; the marked ones are beaten by none on
both. Nothing is stored: `select` with two weighted targets makes the one that pleases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.counted import counted
from influence_store.errors import UsageError
from influence_store.jobs.kernels import choose_kernel
from influence_store.output import table_lines
from influence_store.selection import FUNCTIONS
from influence_store.selection.budget import budget_count
from influence_store.selection.optimizers import LazyGreedy
from influence_store.selection.tradeoff import tradeoff
from influence_store.selection.views import Clipped, DenseView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.selection.tradeoff import Tradeoff
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

_MEMORY_BYTES = 4 << 30
OBJECTIVE = "flqmi"


@dataclass(frozen=True)
class TradeoffReport:
    """One row per weight of the first target; shares run from chance (0) to its own best (1)."""

    dataset: str
    targets: tuple[str, str]
    kernel: str
    n_items: int
    found: Tradeoff
    notes: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`; `weights` are what the mixture gave each objective as it is."""
        found = self.found
        points = [
            {
                "lambda": weight,
                "weights": [weight / found.units[0], (1 - weight) / found.units[1]],
                "values": values,
                "shares": [None if np.isnan(one) else one for one in shares],
                "efficient": efficient,
            }
            for weight, values, shares, efficient in zip(
                found.weights.tolist(),
                found.values.tolist(),
                found.shares.tolist(),
                found.efficient.tolist(),
                strict=True,
            )
        ]
        return {
            "dataset": self.dataset,
            "targets": list(self.targets),
            "objective": OBJECTIVE,
            "kernel": self.kernel,
            "items": self.n_items,
            "notes": list(self.notes),
            "points": points,
        }

    def lines(self) -> list[str]:
        """For people."""
        one, other = self.targets
        rows = [
            (f"{weight:.2f}", f"{a:.3f}", f"{b:.3f}", "*" if efficient else "")
            for weight, (a, b), efficient in zip(
                self.found.weights, self.found.shares, self.found.efficient, strict=True
            )
        ]
        return [
            *[f"note: {note}" for note in self.notes],
            f"{self.n_items:,} samples of {self.dataset} by {OBJECTIVE} on {self.kernel}; shares "
            "from chance (0) to the best for that target alone (1)",
            *table_lines([f"λ of {one}", one, other, "frontier"], rows),
            f"{int(self.found.efficient.sum())} of {len(rows)} are beaten by none on both targets",
        ]


def two_targets(
    store: Store,
    version: Version,
    targets: Sequence[Version],
    budget: str,
    *,
    kernel: str | None = None,
    accept_weak: bool = False,
    seed: int = 0,
    steps: int = 11,
) -> TradeoffReport:
    """The Pareto frontier of two targets at one budget; UsageError unless there are two."""
    if len(targets) != 2:
        raise UsageError(
            f"found {counted(len(targets), 'target')}; a frontier is between two",
            hint=f"influence-store frontier {version} --target A --target B --budget 10%",
        )
    n_items = budget_count(budget, len(version.bits))
    chosen = choose_kernel(store, [version, *targets], kernel, accept_weak=accept_weak)
    views = [
        DenseView.of(Clipped(chosen.view(target.sids, version.sids)), _MEMORY_BYTES)
        for target in targets
    ]
    make = FUNCTIONS.get(OBJECTIVE)
    functions = (make(views[0]), make(views[1]))
    found = tradeoff(functions, n_items, LazyGreedy(), seed=seed, steps=steps)
    names = (str(targets[0]), str(targets[1]))
    return TradeoffReport(str(version), names, chosen.name, n_items, found, chosen.notes)
