"""Is this a pairwise influence function: `prepare` for targets, `score` for one source?"""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.testing.laws import (
    TOLERANCE,
    ConformanceError,
    Yardstick,
    check_bounds,
    check_facts,
    check_facts_kept,
    check_ledger,
    check_spec,
    check_variants,
    demand,
    enough,
    without_response,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from influence_store.protocols import Doubles, Ids
    from influence_store.schema.sample import Sample
    from influence_store.testing.laws import Make

LEAST = 5


@dataclass(frozen=True)
class Asked:
    """A method that has scored every source for every target: `whole` (pairs, outputs)."""

    make: Make
    method: Any
    state: Any
    targets: Sequence[Sample]
    sources: Sequence[Sample]
    whole: Doubles
    yardstick: Yardstick

    @property
    def everyone(self) -> Ids:
        """Positions of all targets."""
        return np.arange(len(self.targets), dtype=np.int64)

    def demand_same(
        self, law: str, found: Doubles, rows: Ids, sources: Sequence[int], when: str
    ) -> None:
        """`found` must be the values of targets `rows` for `sources`, source by source."""
        n = len(self.targets)
        pairs = [(i, j) for j in sources for i in rows]
        expected = self.whole[[j * n + i for i, j in pairs]]
        names = [f"S[target {i}, source {j}]" for i, j in pairs]
        self.yardstick.demand_equal(law, found, expected, names, when)


def check_pairwise(
    make: Make,
    samples: Sequence[Sample],
    *,
    too_long: Sample | None = None,
    scores_empty: bool = False,
    variants: Sequence[Make] = (),
    reference: Callable[[Sample, Sample], float] | None = None,
    tolerance: float = TOLERANCE,
) -> None:
    """ConformanceError unless the objects that `make` builds keep every law.

    The samples are split into more targets than sources. `too_long` fits the model neither as a
    target nor as a source. `reference(target, source)` is a slow second way to the first output;
    only with it can values that belong to the reversed pair be told from right ones. `variants`
    and `scores_empty` as in `check_pointwise`. ValueError for fewer than 5 samples.
    """
    enough(samples, LEAST)
    method = make()
    spec = check_spec(method)
    demand(spec.kind == "pairwise", "kind is pairwise", f"it is {spec.kind}")
    facts = check_facts(make)
    split = len(samples) // 2 + 1
    targets, sources = samples[:split], samples[split:]
    whole = _check_cost(method, targets, sources)
    yardstick = Yardstick.of(spec.outputs, whole, tolerance)
    asked = Asked(make, method, method.prepare(targets), targets, sources, whole, yardstick)
    _check_state(asked)
    _check_positions(asked)
    _check_orientation(asked)
    _check_order(asked)
    _check_resuming(asked)
    if too_long is not None:
        _check_too_long(asked, too_long)
    if not scores_empty:
        _check_empty(asked)
    check_bounds(spec, whole[:, 0], spec.outputs[0])
    if reference is not None:
        _check_reference(asked, reference)
    built = [make() for make in variants]
    others = [(one, _all(one, one.prepare(targets), sources, asked.everyone)) for one in built]
    check_variants(method, whole, others, yardstick)
    check_facts_kept(method, facts)


def _check_cost(method: Any, targets: Sequence[Sample], sources: Sequence[Sample]) -> Doubles:
    """Score everything once: that is counted, and asking for nothing costs nothing."""
    spent = method.ledger.facts()
    state = method.prepare(targets)
    whole = _all(method, state, sources, np.arange(len(targets), dtype=np.int64))
    known = int((~np.isnan(whole)).any(axis=1).sum())
    demand(
        2 * known > len(whole),
        "samples can be measured",
        f"only {known} of {len(whole)} pairs have a value; give the check samples that fit",
    )
    for k, name in enumerate(method.spec.outputs):
        demand(not np.isinf(whole[:, k]).any(), "values are finite or NaN", f"{name} is infinite")
    check_ledger(method, spent)
    spent = method.ledger.facts()
    _scored(method, state, sources[0], np.zeros(0, np.int64))
    demand(
        method.ledger.facts() == spent,
        "no positions, no values, no cost",
        f"{method.ledger.facts()} after scoring nothing, before it was {spent}",
    )
    return whole


def _check_orientation(asked: Asked) -> None:
    """Rows are targets, columns sources, and a pair depends on no other pair."""
    law = "S[target, source] is the value of the source for the target"
    first = np.zeros(1, np.int64)
    for i, target in enumerate(asked.targets):
        state = asked.method.prepare([target])
        found = _all(asked.method, state, asked.sources, first)
        every = range(len(asked.sources))
        asked.demand_same(law, found, np.array([i]), every, "with this target alone")


def _check_positions(asked: Asked) -> None:
    law = "positions may be asked for in any order and part"
    some = asked.everyone[::-2]
    found = _all(asked.method, asked.state, asked.sources, some)
    asked.demand_same(law, found, some, range(len(asked.sources)), f"for positions {some.tolist()}")


def _check_order(asked: Asked) -> None:
    order = np.random.default_rng(0).permutation(len(asked.targets))
    state = asked.method.prepare([asked.targets[i] for i in order])
    found = _all(asked.method, state, asked.sources, asked.everyone)
    every = range(len(asked.sources))
    asked.demand_same("order does not matter", found, order, every, "in another order of targets")


def _check_resuming(asked: Asked) -> None:
    """A killed run goes on in another process with the sources that are left."""
    fresh = asked.make()
    state = fresh.prepare(asked.targets)
    for j in reversed(range(len(asked.sources))):
        found = _all(fresh, state, [asked.sources[j]], asked.everyone)
        asked.demand_same(
            "a run can be resumed", found, asked.everyone, [j], "from a second object, last first"
        )


def _check_state(asked: Asked) -> None:
    """`prepare` and `score` may happen in different processes, and `score` many times."""
    law = "the state survives pickling"
    state = asked.method.prepare(asked.targets)
    sent = _pickled(state)
    again = _all(asked.method, state, asked.sources, asked.everyone)
    every = range(len(asked.sources))
    asked.demand_same(
        "asking again changes nothing", again, asked.everyone, every, "when asked again"
    )
    demand(
        _pickled(state) == sent,
        "scoring leaves the state as it was",
        "the pickled state has changed",
    )
    found = _all(asked.make(), ForkingPickler.loads(sent), asked.sources, asked.everyone)
    asked.demand_same(law, found, asked.everyone, every, "in another process")


def _pickled(state: Any) -> bytes:
    try:
        return bytes(ForkingPickler.dumps(state))
    except Exception as error:  # whatever a state's own parts raise
        law = "the state survives pickling"
        raise ConformanceError(f"{law}: {type(error).__name__}: {error}") from error


def _check_too_long(asked: Asked, too_long: Sample) -> None:
    law = "a pair that does not fit is NaN, never cut and never 0"
    _check_null_target(asked, too_long, law, "a target that does not fit")
    found = _scored(asked.method, asked.state, too_long, asked.everyone)
    demand(bool(np.isnan(found).all()), law, f"a source that does not fit has {found[0]}")


def _check_empty(asked: Asked) -> None:
    law = "an empty response is NaN, never 0"
    empty = without_response(asked.targets[1])
    _check_null_target(asked, empty, law, "a target without a response")


def _check_null_target(asked: Asked, odd: Sample, law: str, what: str) -> None:
    """An odd target in the middle has no value, and its neighbours keep theirs."""
    state = asked.method.prepare([asked.targets[0], odd, asked.targets[1]])
    every = range(len(asked.sources))
    found = _all(asked.method, state, asked.sources, np.array([1]))
    demand(bool(np.isnan(found).all()), law, f"{what} has {found[0]}, expected NaN")
    beside = _all(asked.method, state, asked.sources, np.array([0, 2]))
    asked.demand_same(law, beside, np.array([0, 1]), every, f"beside {what}")


def _check_reference(asked: Asked, reference: Callable[[Sample, Sample], float]) -> None:
    n = len(asked.targets)
    for j, source in enumerate(asked.sources):
        for i, target in enumerate(asked.targets):
            found, expected = asked.whole[j * n + i, 0], reference(target, source)
            demand(
                bool(np.isclose(found, expected, rtol=1e-4, atol=1e-5, equal_nan=True)),
                "S[target, source] is that of the reference",
                f"S[{i}, {j}] is {found:.6g}, expected {expected:.6g}",
            )


def _all(method: Any, state: Any, sources: Sequence[Sample], positions: Ids) -> Doubles:
    """(sources · positions, outputs): source after source."""
    return np.concatenate([_scored(method, state, source, positions) for source in sources])


def _scored(method: Any, state: Any, source: Sample, positions: Ids) -> Doubles:
    """(positions, outputs), its form checked."""
    law = "answers have one value per position and output"
    found, outputs = method.score(state, source, positions), method.spec.outputs
    demand(
        set(found) == set(outputs),
        law,
        f"score gives {sorted(found)}, the spec names {sorted(outputs)}",
    )
    for name in outputs:
        shape, expected = np.shape(found[name]), (len(positions),)
        demand(
            shape == expected,
            law,
            f"{name} has shape {shape} for {len(positions)} positions, expected {expected}",
        )
    return np.stack([np.asarray(found[name], np.float64) for name in outputs], axis=1)
