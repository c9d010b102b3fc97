"""`select`: an ordered choice of samples from stored values, with its proof beside it."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from influence_store.errors import UsageError
from influence_store.execution import LOCAL
from influence_store.jobs.allowed import Allowed, allowed
from influence_store.jobs.cover import cover_batch, served
from influence_store.jobs.neighbours import neighbours
from influence_store.jobs.partitioned import partitioned, pieces_of
from influence_store.jobs.problem import Problem, plan_of, problem_of
from influence_store.jobs.proof import proof
from influence_store.jobs.publish_selection import new_selection, publish_selection
from influence_store.jobs.question import LAZY, Question
from influence_store.jobs.select_report import SelectReport
from influence_store.schema.catalog import Selection
from influence_store.selection import OPTIMIZERS
from influence_store.selection.certificate import certificate_of
from influence_store.selection.engine.fused import FusedGreedy
from influence_store.selection.functions.facility_location import FacilityLocation
from influence_store.selection.knee import knee
from influence_store.selection.neighbours.loss import expected_share
from influence_store.selection.optimizers import KnapsackGreedy, LazyGreedy, NaiveGreedy
from influence_store.selection.views import CosineView

if TYPE_CHECKING:
    import pyarrow as pa

    from influence_store.execution import Executor
    from influence_store.protocols import Chosen, SetFunction
    from influence_store.selection.limits import Limits
    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store

#: A selection may hold so much at once unless the user says otherwise.
MEMORY_BYTES = 4 << 30
#: Targets × picks up to which it is written down who serves whom.
_COVER_PAIRS = 500_000_000
#: Without a compiled engine a gain curve is followed to so many picks.
_CURVE = 2_000


def select(
    store: Store,
    question: Question,
    *,
    memory: int = MEMORY_BYTES,
    executor: Executor = LOCAL,
) -> SelectReport:
    """Choose samples greedily within the limits of `question`, and store the order.

    Exact where the kernel fits `memory` bytes, or where `question.path` says so. The same question
    on the same values is answered from the store. `executor` works on the parts of a selection in
    parts, and compares rows for near duplicates; whoever else selects does so here.
    """
    rules, ways = allowed(store, question, executor), plan_of(question, memory)
    few = ways.targets if ways.path == "representatives" else None
    question = replace(question, path=ways.path, represented=few, limits=rules.digest)
    question = replace(question, pieces=pieces_of(question, memory))
    identity = question.identity
    with store.claim("select", f"select:{identity}", question.inputs()) as run:
        reused = stored(store, identity) is not None
        if not reused:
            problem, counted = problem_of(question, ways, memory), executor.taken
            _answer(store, run, question, rules, problem, memory, executor)
            run.count(executor.taken - counted)
        run.report({"selection": identity, "reused": reused}, {})
    row = stored(store, identity)
    assert row is not None
    notes = (*question.kernel.notes, *rules.notes)
    return SelectReport.of(row, str(question.version), notes, reused=reused)


def solve(
    store: Store,
    question: Question,
    rules: Allowed,
    problem: Problem,
    limits: Limits | None = None,
    executor: Executor = LOCAL,
) -> tuple[Chosen, dict[str, Any]]:
    """The greedy order, positions in `version.sids`, and what to tell of how it was found."""
    limits = limits or rules.limits
    if problem.plan.path == "neighbours":
        return _by_neighbours(store, question, problem, limits)
    if problem.plan.path == "partitioned":
        return partitioned(store, question, problem, limits, executor)
    chosen, told = _greedy(question, problem.function, limits), {}
    if problem.plan.path == "representatives":
        # One of them stands for several; what they bound is not the function itself.
        scale = len(question.version.bits) / len(problem.targets)
        chosen = replace(chosen, gains=chosen.gains * scale, left=None)
    if chosen.left is not None:
        # Whatever was started from, the bound is for the best of all allowed sets.
        anew = replace(limits, start=limits.start[:0])
        bound = certificate_of(float(chosen.gains.sum()), chosen.left, anew)
        told["certificate"] = {**bound.facts(), "told": bound.told()}
    return chosen, told


def stored(store: Store, identity: str) -> Selection | None:
    """The selection with exactly this id."""
    with store.database.read() as session:
        return session.get(Selection, identity)


def _greedy(question: Question, function: SetFunction[Any], limits: Limits) -> Chosen:
    """By the optimizer that was named; else compiled where possible, lazy where gains only fall."""
    chosen: Chosen
    if question.optimizer != LAZY:
        make = OPTIMIZERS.get(question.optimizer)
        seeded = "seed" in inspect.signature(make).parameters
        chosen = (make(seed=question.seed) if seeded else make()).maximize(function, limits)
        return chosen
    greedy: Any = NaiveGreedy
    if function.submodular:
        greedy = FusedGreedy if getattr(function, "coverage", None) is not None else LazyGreedy
    elif limits.budget > _CURVE and question.budget.auto:
        limits = replace(limits, budget=_CURVE)
    chosen = (greedy() if limits.costs is None else KnapsackGreedy(greedy)).maximize(
        function, limits
    )
    return chosen


def _by_neighbours(
    store: Store, question: Question, problem: Problem, limits: Limits
) -> tuple[Chosen, dict[str, Any]]:
    from influence_store.selection.neighbours.greedy import neighbour_greedy

    assert isinstance(problem.function, FacilityLocation)
    view = problem.function.view
    assert isinstance(view, CosineView)  # of a million samples one copy of the vectors is enough
    vectors = view.sources
    index = neighbours(store, question.kernel.embedder, question.version, vectors)
    chosen = neighbour_greedy(index, limits)
    share = expected_share(vectors, index, chosen.items, seed=question.seed)
    return chosen, {"expected": share.facts(), "told": share.line()}


def _answer(
    store: Store,
    run: ActiveRun,
    question: Question,
    rules: Allowed,
    problem: Problem,
    memory: int,
    executor: Executor,
) -> None:
    """Choose, prove, and publish the order with who serves whom."""
    chosen, told = solve(store, question, rules, problem, executor=executor)
    curve, unit = None, "samples" if rules.tokens is None else "tokens"
    if question.budget.auto:
        costs = None if rules.tokens is None else rules.tokens[chosen.items].astype(np.float64)
        curve = knee(chosen.gains, costs)
        count = curve.count()
        chosen = replace(chosen, items=chosen.items[:count], gains=chosen.gains[:count])
        told.pop("certificate", None)
    if not len(chosen.items):
        raise UsageError("no sample may be picked under these limits", hint="loosen one of them")
    facts = {
        "inputs": question.inputs(),
        "function": dict(problem.function.facts),
        "plan": {"path": problem.plan.path, "told": problem.plan.told},
        "limits": rules.facts,
        "answer": {**told, **_totals(rules, chosen)},
        "knee": None if curve is None else {**curve.facts(), "lines": curve.lines(unit)},
        "baselines": _proof(store, question, rules, problem, chosen, memory),
    }
    if "leak" in rules.barred:
        facts["with_leaks"] = _with_leaks(store, question, rules, problem, chosen)
    # Counts and sums of arrays become plain numbers, which is all that JSON knows.
    plain = orjson.loads(orjson.dumps(facts, option=orjson.OPT_SERIALIZE_NUMPY))
    version, kernel = question.version, question.kernel.name
    sids = version.sids[chosen.items]
    row = new_selection(question.identity, version, question.objective, kernel, len(sids), plain)
    publish_selection(store, run, row, sids, chosen.gains, _cover(problem, chosen))


def _totals(rules: Allowed, chosen: Chosen) -> dict[str, Any]:
    told: dict[str, Any] = {"samples": len(chosen.items), "evaluations": chosen.evaluations}
    if rules.tokens is not None:
        told["tokens"] = int(rules.tokens[chosen.items].sum())
    groups = rules.limits.groups
    if groups is not None:
        counts = np.bincount(groups[chosen.items], minlength=rules.limits.n_groups)
        told["groups"] = dict(zip(rules.limits.names, counts.tolist(), strict=True))
    return told


def _proof(
    store: Store,
    question: Question,
    rules: Allowed,
    problem: Problem,
    chosen: Chosen,
    memory: int,
) -> dict[str, Any]:
    return proof(
        store,
        question.version,
        question.kernel,
        problem.judge,
        chosen,
        replace(rules.limits, start=rules.limits.start[:0]),
        view=getattr(problem.judge, "view", None),
        is_cosine_fl=question.kernel.is_cosine and question.objective == "facility-location",
        weight=problem.weight,
        memory=memory,
        seed=question.seed,
    )


def _with_leaks(
    store: Store, question: Question, rules: Allowed, problem: Problem, chosen: Chosen
) -> dict[str, Any]:
    """What the objective would say with the leaks let in: how much of a score is memory."""
    limits = replace(rules.with_leaks(question.version.sids), start=rules.limits.start)
    other, _ = solve(store, question, rules, problem, limits)
    leaked = np.isin(
        question.version.sids[other.items], np.asarray(rules.barred["leak"].to_array(), np.int64)
    )
    return {
        "value": problem.weight * problem.judge.value(other.items),
        "without": problem.weight * problem.judge.value(chosen.items),
        "leaks_picked": int(leaked.sum()),
    }


def _cover(problem: Problem, chosen: Chosen) -> pa.RecordBatch | None:
    """Who serves whom, where the function covers targets and there are not too many."""
    coverage = getattr(problem.function, "coverage", None)
    n_targets = len(problem.targets)
    if coverage is None or n_targets * len(chosen.items) > _COVER_PAIRS:
        return None
    if coverage.view.shape[0] != n_targets:
        return None
    return cover_batch(served(coverage, chosen.items, problem.targets, problem.sources))
