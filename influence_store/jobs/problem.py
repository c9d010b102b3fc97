"""From a question to numbers: the set function over the samples, within a memory limit.

`function` is what greedy maximizes; `judge` is the same function on true values of all targets, or
of a sample of them where all would not fit, and tells what any selection is worth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.errors import UsageError
from influence_store.jobs.options import check_options
from influence_store.jobs.question import LAZY, OWN
from influence_store.selection import FUNCTIONS
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.plan import (
    BYTES_PER_PAIR,
    HALF_BYTES_PER_PAIR,
    SCREENED_BYTES_PER_PAIR,
    Plan,
    plan,
)
from influence_store.selection.tiles import lower_bound
from influence_store.selection.views import Clipped, DenseView, RowsView, SelfCovered, screened

if TYPE_CHECKING:
    from influence_store.jobs.question import Aim, Question
    from influence_store.protocols import Ids, PairwiseView, SetFunction

#: Targets on which selections are compared where a kernel of all of them does not fit.
JUDGED = 2048
#: Functions whose targets are the queries; the others cover the samples themselves.
_OVER_QUERIES = ("flqmi", "gcmi")
#: Sums over the samples as targets: some of them can stand for all.
_SAMPLED = ("facility-location", "fl1mi", "flvmi", "flcg", "flcmi")
#: Functions that take negative values as they are.
_ANY_SIGN = ("log-determinant", "disparity-sum", "disparity-min")


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
    return plan(
        len(_covered(question)),
        len(question.version.bits),
        memory=memory,
        path=question.path,
        sampled=_is_sampled(question),
        listed=_is_screened(question),
        per_pair=_bytes_per_pair(question),
        represented=question.represented,
    )


def problem_of(question: Question, ways: Plan, memory: int) -> Problem:
    """UsageError where the kernel does not suit the function (not symmetric, for example)."""
    samples, targets = question.version.sids, _covered(question)
    few = some_of(samples, ways.targets, question.seed) if _is_sampled(question) else samples
    try:
        if ways.path in ("neighbours", "partitioned"):
            return _never_whole(question, ways, memory // 2)
        held = memory if ways.path in ("memory", "representatives") else 0
        function = _function(question, few, held)
        judge, judged = function, few
        if ways.path != "memory" and _is_sampled(question):
            judged = some_of(samples, JUDGED, question.seed + 1)
            judge = _function(question, judged, memory // 2)
    except ValueError as error:
        raise UsageError(
            f"{question.objective} on {question.kernel.name}: {error}",
            hint="another --objective or --kernel: influence-store select --help",
        ) from error
    weight = len(samples) / len(judged)
    covered = few if _is_sampled(question) else targets
    return Problem(function, judge, samples, covered, weight, ways)


def _never_whole(question: Question, ways: Plan, memory: int) -> Problem:
    """Coverage of the samples by cosine, of which only what the judge reads is ever computed.

    The smallest of all cosines would take every pair there is; nothing hangs on it here.
    """
    samples = question.version.sids
    whole = question.kernel.view(samples, samples)
    judged = some_of(samples, JUDGED, question.seed + 1)
    some = whole if len(judged) == len(samples) else _rows_of(whole, samples, judged)
    seen = DenseView.of(some, memory)
    judge = FacilityLocation(seen, lower_bound(seen))
    function = FacilityLocation(whole, judge.floor)
    return Problem(function, judge, samples, samples, len(samples) / len(judged), ways)


def _bytes_per_pair(question: Question) -> float:
    """How the kernel is held in memory, if it is."""
    if _is_screened(question):
        return SCREENED_BYTES_PER_PAIR
    return HALF_BYTES_PER_PAIR if _is_cosine_coverage(question) else BYTES_PER_PAIR


def _is_screened(question: Question) -> bool:
    """Whether all that is asked of the kernel is what compiled greedy asks of cosines."""
    return _is_cosine_coverage(question) and question.optimizer == LAZY


def _is_cosine_coverage(question: Question) -> bool:
    return question.objective == "facility-location" and question.kernel.is_cosine


def _is_sampled(question: Question) -> bool:
    """Whether some targets could stand for all."""
    return question.objective in _SAMPLED and len(question.aims) <= 1


def _covered(question: Question) -> Ids:
    """The sids that the function covers: those of the aims if it is over queries, else its own."""
    if question.objective in _OVER_QUERIES:
        return np.concatenate([aim.version.sids for aim in question.aims])
    return question.version.sids


def some_of(sids: Ids, count: int, seed: int) -> Ids:
    """`count` of the sids drawn at random, ascending; all where there are no more."""
    if count >= len(sids):
        return sids
    return np.sort(np.random.default_rng(seed).choice(sids, count, replace=False))


def _function(question: Question, targets: Ids, memory: int) -> SetFunction[Any]:
    """The parts and, for each of several aims, one of each part, as one weighted sum.

    `targets` are the samples that functions over the samples cover.
    """
    parts, weights = [], []
    for name, weight in question.parts:
        aims = [None] if name in OWN or not question.aims else question.aims
        for aim in aims:
            parts.append(_part(question, name, aim, targets, memory))
            weights.append(weight if aim is None else weight * aim.weight)
    if len(parts) == 1:
        return parts[0]
    mixture: SetFunction[Any] = FUNCTIONS.get("mixture")(parts, weights)
    return mixture


def _part(
    question: Question, name: str, aim: Aim | None, targets: Ids, memory: int
) -> SetFunction[Any]:
    """One set function, for one aim where it serves one."""
    kernel, sources = question.kernel, question.version.sids
    queries = sources[:0] if aim is None else aim.version.sids
    views: list[Any] = []
    if name in _OVER_QUERIES:
        views.append(DenseView.of(Clipped(kernel.view(queries, sources)), memory))
    else:
        own = _own(question, targets)
        any_sign = name == "facility-location" or name in _ANY_SIGN
        hold = screened if _is_screened(question) else DenseView.of
        views.append(hold(own if any_sign else Clipped(own), memory))
    if name == "facility-location":
        views.append(lower_bound(views[0]))
    if name in ("fl1mi", "flvmi", "flcmi"):
        views.append(Clipped(kernel.view(targets, queries)))
    if name in ("flcg", "flcmi", "gccg"):
        assert question.given is not None
        views.append(Clipped(kernel.view(targets, question.given.sids)))
    make = FUNCTIONS.get(name)
    check_options(f"objective {name}", make, question.settings, len(views))
    made: SetFunction[Any] = make(*views, **question.settings)
    return made


def _own(question: Question, targets: Ids) -> PairwiseView:
    """The samples on themselves, or on some of them as targets.

    A sample's own pair is no estimate; by cosine it is 1 by definition.
    """
    kernel, sources = question.kernel, question.version.sids
    view = kernel.view(sources, sources)
    whole: PairwiseView = view if kernel.is_cosine else SelfCovered(view)
    if len(targets) == len(sources):
        return whole
    return _rows_of(whole, sources, targets)


def _rows_of(whole: PairwiseView, sources: Ids, targets: Ids) -> PairwiseView:
    return RowsView(whole, np.searchsorted(sources, targets))
