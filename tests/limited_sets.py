"""Random limits over few sources, and every set they allow by definition."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from influence_store.selection.limits import Limits


def random_limits(rng, n, *, costs=None, groups=None, start=False, barred=False):
    """Limits over n sources; None = as likely as not. They may contradict themselves."""
    costs = rng.random() < 0.5 if costs is None else costs
    groups = rng.random() < 0.5 if groups is None else groups
    count = int(rng.integers(1, 4))
    floors = rng.integers(0, 4, count)
    named = {}
    if costs:
        named["costs"] = rng.integers(1, 9, n).astype(np.float64)
        named["most"] = float(rng.integers(1, 5 * n))
    if groups:
        named["groups"] = rng.integers(0, count, n)
        named["floors"] = floors if rng.random() < 0.7 else None
        named["ceilings"] = floors + rng.integers(0, 3, count) if rng.random() < 0.7 else None
    if costs and named.get("floors") is not None and rng.random() < 0.7:
        # Little more than the floors need, so that what is set aside for them matters.
        members = [np.sort(named["costs"][named["groups"] == g]) for g in range(count)]
        least = sum(one[:floor].sum() for one, floor in zip(members, floors, strict=True))
        named["most"] = float(least + rng.integers(0, 8))
    if start:
        named["start"] = rng.permutation(n)[: rng.integers(0, 3)]
    if barred:
        named["barred"] = rng.random(n) < 0.2
    return Limits(int(rng.integers(0 if start else 1, n + 1)), **named)


def allowed(limits, n, items):
    """Whether a set is allowed, word for word as `Limits` says."""
    chosen = set(items)
    if len(chosen) > limits.budget or not set(limits.start.tolist()) <= chosen:
        return False
    if limits.barred is not None and any(limits.barred[j] for j in chosen):
        return False
    if limits.costs is not None and sum(limits.costs[j] for j in chosen) > limits.most:
        return False
    for group in range(limits.n_groups if limits.groups is not None else 0):
        members = sum(limits.groups[j] == group for j in chosen)
        if limits.floors is not None and members < limits.floors[group]:
            return False
        if limits.ceilings is not None and members > limits.ceilings[group]:
            return False
    return True


def allowed_sets(limits, n):
    """All of them."""
    everything = (s for size in range(n + 1) for s in combinations(range(n), size))
    return [set(one) for one in everything if allowed(limits, n, one)]


def best_allowed(function, limits):
    """The largest value of an allowed set."""
    sets = allowed_sets(limits, function.n)
    return max(function.value(np.array(sorted(one), np.int64)) for one in sets)


class Penalised:
    """f(A) = g(A) − Σ price: submodular where g is, and not monotone."""

    submodular, monotone = True, False

    def __init__(self, function, price):
        self.function, self.price, self.n = function, price, function.n

    def empty(self):
        return self.function.empty()

    def gains(self, state, candidates):
        return self.function.gains(state, candidates) - self.price[candidates]

    def add(self, state, item):
        return self.function.add(state, item)

    def value(self, items):
        return self.function.value(items) - self.price[items].sum()
