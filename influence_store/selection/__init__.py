"""Which samples, taken together, are worth the most?

Kernel views × set functions × optimizers; or a selector, which needs no kernel.
"""

from __future__ import annotations

from influence_store.registry import Entry, Registry

_HERE = "influence_store.selection"
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
        "flvmi": Entry(f"{_FUNCTIONS}.fl1mi:FL1MI", "another name of fl1mi"),
        "flcg": Entry(f"{_FUNCTIONS}.flcg:FLCG", "cover what the given samples leave open"),
        "flcmi": Entry(
            f"{_FUNCTIONS}.flcmi:FLCMI",
            "cover what the queries cover and the given samples leave open",
        ),
        "graph-cut": Entry(
            f"{_FUNCTIONS}.graph_cut:GraphCut", "stand for all, repeat each other little"
        ),
        "gcmi": Entry(f"{_FUNCTIONS}.gcmi:GCMI", "be close to the queries, all together"),
        "gccg": Entry(f"{_FUNCTIONS}.gccg:GCCG", "stand for all, away from the given samples"),
        "saturated-coverage": Entry(
            f"{_FUNCTIONS}.saturated_coverage:SaturatedCoverage", "cover every target up to a share"
        ),
        "log-determinant": Entry(
            f"{_FUNCTIONS}.log_determinant:LogDeterminant", "span as much volume as possible"
        ),
        "feature-based": Entry(
            f"{_FUNCTIONS}.feature_based:FeatureBased",
            "have much of every feature, with diminishing returns",
        ),
        "disparity-sum": Entry(
            f"{_FUNCTIONS}.disparity_sum:DisparitySum", "be far from each other, on average"
        ),
        "disparity-min": Entry(
            f"{_FUNCTIONS}.disparity_min:DisparityMin", "be far from each other, every pair"
        ),
        "modular": Entry(f"{_FUNCTIONS}.modular:Modular", "the highest scores"),
        "mixture": Entry(f"{_FUNCTIONS}.mixture:Mixture", "a weighted sum of other functions"),
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
        "lazier-than-lazy": Entry(
            f"{_OPTIMIZERS}:LazierThanLazyGreedy", "stochastic greedy that keeps lazy bounds"
        ),
        "partitioned": Entry(
            f"{_OPTIMIZERS}:PartitionedGreedy",
            "greedy in random parts, then among the winners (GreeDi)",
        ),
        "sieve-streaming": Entry(
            f"{_OPTIMIZERS}:SieveStreaming", "every source is looked at once, in order"
        ),
        "knapsack": Entry(f"{_OPTIMIZERS}:KnapsackGreedy", "the better of gain and gain per cost"),
        "fused-greedy": Entry(
            f"{_HERE}.engine.fused:FusedGreedy", "lazy greedy, compiled, for coverage"
        ),
    },
)

#: Functions `select(budget, *, inputs, options) -> Picks`; `picks.inputs_of` names the inputs.
SELECTORS = Registry(
    "selector",
    "influence_store.selectors",
    {
        "random": Entry(
            f"{_HERE}.random_choice:random_choice", "chance: what every selection must beat"
        ),
        "length-matched": Entry(
            f"{_HERE}.length:length_matched", "chance, but with the lengths of another set"
        ),
        "longest": Entry(f"{_HERE}.length:longest", "the longest responses"),
        "top": Entry(f"{_HERE}.top_scores:top_scores", "the best scores below the extreme tail"),
        "stratified": Entry(
            f"{_HERE}.stratified:stratified", "some of every score level, without the top (DEALRec)"
        ),
        "k-center": Entry(
            f"{_HERE}.k_center:k_center", "each as far as possible from all before (DiverseEvol)"
        ),
    },
)
