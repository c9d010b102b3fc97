"""From a question to numbers: the set function over the samples, within a memory limit.

`function` is what greedy maximizes; `judge` is the same function on true values of all targets, or
of a sample of them where all would not fit, and tells what any selection is worth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.errors import UsageError
from influence_store.jobs.question import OWN
from influence_store.selection import FUNCTIONS
from influence_store.selection.plan import BYTES_PER_PAIR, Plan, plan
from influence_store.selection.tiles import lower_bound
from influence_store.selection.views import Clipped, DenseView, RowsView, SelfCovered

if TYPE_CHECKING:
    from influence_store.jobs.question import Question
    from influence_store.protocols import Ids, PairwiseView, SetFunction
    from influence_store.store.store import Store

#: Targets on which selections are compared where a kernel of all of them does not fit.
JUDGED = 2048


#: Functions whose targets are the queries; the others cover the samples themselves.
_OVER_QUERIES = ("flqmi", "gcmi")
_COVERAGE = ("facility-location", "flqmi", "fl1mi", "flvmi", "flcg", "flcmi")


@dataclass(frozen=True)
class Problem:
    """`function` over `sources` (n,), sids in ascending order, covering `targets` (m,), sids.

    `weight` is what one judged target stands for: all targets / judged targets.
    """

    function: SetFunction[Any]
    judge: SetFunction[Any]
    sources: Ids
    targets: Ids
    weight: float
    plan: Plan


def plan_of(question: Question, memory: int) -> Plan:
    """How to compute it; UsageError where `question.path` cannot."""
    n, n_targets = len(question.version.bits), len(_targets(question))
    listed = question.objective == "facility-location" and question.kernel.is_cosine
    covering = all(
        name.startswith("fl") or name == "facility-location" for name, _ in question.parts
    )
    path = question.path
    if path is None and not covering and BYTES_PER_PAIR * n_targets * n > memory:
        path = "tiles"  # other functions cannot do with a part of the targets
    return plan(
        n_targets, n, memory=memory, path=path, listed=listed, represented=question.represented
    )


def problem_of(store: Store, question: Question, memory: int) -> Problem:
    """UsageError where the kernel does not suit the function (not symmetric, for example)."""
    ways = plan_of(question, memory)
    targets = _targets(question)
    several = question.parts[0][0] in _OVER_QUERIES and len(question.aims) > 1
    few = targets if several else some_of(targets, ways.targets, question.seed)
    budget = memory if ways.path in ("memory", "representatives") else 0
    try:
        function = _function(question, few, budget)
        judge, judged = function, few
        if ways.path != "memory" and not several:
            judged = some_of(targets, JUDGED, question.seed + 1)
            judge = _function(question, judged, memory // 2)
    except ValueError as error:
        raise UsageError(f"{question.objective} on {question.kernel.name}: {error}") from error
    weight = len(targets) / max(1, len(judged))
    return Problem(function, judge, question.version.sids, few, weight, ways)


def _targets(question: Question) -> Ids:
    """The sids to be covered: those of the aims for functions over queries, else the samples."""
    if question.parts[0][0] in _OVER_QUERIES:
        return np.concatenate([aim.version.sids for aim in question.aims])
    return question.version.sids


def some_of(sids: Ids, count: int, seed: int) -> Ids:
    """`count` of the sids drawn at random, ascending; all where there are no more."""
    if count >= len(sids):
        return sids
    return np.sort(np.random.default_rng(seed).choice(sids, count, replace=False))


def _function(question: Question, targets: Ids, memory: int) -> SetFunction[Any]:
    parts = [_part(question, name, targets, memory) for name, _ in question.parts]
    if len(parts) == 1:
        return parts[0]
    mixture: SetFunction[Any] = FUNCTIONS.get("mixture")(parts, [w for _, w in question.parts])
    return mixture


def _part(question: Question, name: str, targets: Ids, memory: int) -> SetFunction[Any]:
    """One set function; over several aims the weighted sum of one for each."""
    if name not in OWN and len(question.aims) > 1:
        each = [_single(question, name, aim.version.sids, targets, memory) for aim in question.aims]
        weights = [aim.weight for aim in question.aims]
        mixture: SetFunction[Any] = FUNCTIONS.get("mixture")(each, weights)
        return mixture
    queries = question.aims[0].version.sids if question.aims else targets[:0]
    return _single(question, name, queries, targets, memory)


def _single(
    question: Question, name: str, queries: Ids, targets: Ids, memory: int
) -> SetFunction[Any]:
    kernel, sources, settings = question.kernel, question.version.sids, dict(question.settings)
    make = FUNCTIONS.get(name)
    if name in _OVER_QUERIES:
        rows = targets if len(question.aims) == 1 else queries
        return _made(make, [_kept(Clipped(kernel.view(rows, sources)), memory)], settings)
    own = _own(question, targets)
    if name == "facility-location":
        view = _kept(own, memory)
        return _made(make, [view, lower_bound(view)], settings)
    views = [_kept(own if name in _ANY_SIGN else Clipped(own), memory)]
    if name in ("fl1mi", "flvmi", "flcmi"):
        views.append(Clipped(kernel.view(targets, queries)))
    if name in ("flcg", "flcmi", "gccg"):
        assert question.given is not None
        views.append(Clipped(kernel.view(targets, question.given.sids)))
    return _made(make, views, settings)


_ANY_SIGN = ("log-determinant", "disparity-sum", "disparity-min")


def _own(question: Question, targets: Ids) -> PairwiseView:
    """The samples on themselves, or on some of them as targets.

    A sample's own pair is no estimate; by cosine it is 1 by definition.
    """
    kernel, sources = question.kernel, question.version.sids
    view = kernel.view(sources, sources)
    whole: PairwiseView = view if kernel.is_cosine else SelfCovered(view)
    if len(targets) == len(sources):
        return whole
    return RowsView(whole, np.searchsorted(sources, targets))


def _kept(view: PairwiseView, memory: int) -> PairwiseView:
    return DenseView.of(view, memory)


def _made(make: Any, views: list[Any], settings: dict[str, Any]) -> SetFunction[Any]:
    try:
        made: SetFunction[Any] = make(*views, **settings)
    except TypeError as error:
        raise UsageError(f"{make.__name__} refuses its options: {error}") from error
    return made
