"""Which samples, taken together, are worth the most? Kernel views × set functions × optimizers."""

from __future__ import annotations

from influence_store.registry import Entry, Registry

_FUNCTIONS = "influence_store.selection.functions"
_OPTIMIZERS = "influence_store.selection.optimizers"

FUNCTIONS = Registry(
    "set function",
    "influence_store.set_functions",
    {
        "facility-location": Entry(
            f"{_FUNCTIONS}.facility_location:FacilityLocation",
            "cover every target by its best chosen source",
        ),
        "flqmi": Entry(f"{_FUNCTIONS}.flqmi:FLQMI", "cover the queries, stay close to them"),
        "fl1mi": Entry(f"{_FUNCTIONS}.fl1mi:FL1MI", "cover what the queries cover, then stop"),
        "flcg": Entry(f"{_FUNCTIONS}.flcg:FLCG", "cover what the given samples leave open"),
    },
)

OPTIMIZERS = Registry(
    "set optimizer",
    "influence_store.set_optimizers",
    {
        "lazy-greedy": Entry(
            f"{_OPTIMIZERS}:LazyGreedy", "naive greedy's answer from a fraction of the gains"
        ),
        "naive-greedy": Entry(f"{_OPTIMIZERS}:NaiveGreedy", "every gain at every step"),
        "stochastic-greedy": Entry(
            f"{_OPTIMIZERS}:StochasticGreedy", "every step looks at a random part; seeded"
        ),
    },
)
