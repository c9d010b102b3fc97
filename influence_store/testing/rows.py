"""Laws of methods that measure every sample by itself: numbers or vectors, one row per sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.testing.laws import (
    Yardstick,
    check_facts,
    check_facts_kept,
    check_ledger,
    check_variants,
    demand,
    enough,
    without_response,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from influence_store.protocols import Doubles, Flags, Ids
    from influence_store.schema.sample import Sample
    from influence_store.testing.laws import Make

LEAST = 4


@dataclass(frozen=True)
class Rows:
    """What a method said of n samples: values (n, k)."""

    values: Doubles
    n_tokens: Ids
    truncated: Flags


@dataclass(frozen=True)
class Subject:
    """How to ask the method under test. `measure` checks the form of every answer."""

    make: Make
    measure: Callable[[Any, Sequence[Sample]], Rows]
    names: tuple[str, ...]
    joint: bool


@dataclass(frozen=True)
class Asked:
    """A method that has measured all samples in one call: what everything is compared with."""

    method: Any
    samples: Sequence[Sample]
    whole: Rows
    yardstick: Yardstick


def check_rows(
    subject: Subject,
    samples: Sequence[Sample],
    *,
    too_long: Sample | None,
    scores_empty: bool,
    variants: Sequence[Make],
    tolerance: float,
) -> Rows:
    """All laws; returns what the method says of the samples in one call."""
    enough(samples, LEAST)
    facts = check_facts(subject.make)
    method = subject.make()
    spent = method.ledger.facts()
    whole = subject.measure(method, samples)
    _check_nulls(whole, samples, scores_empty)
    check_ledger(method, spent)
    yardstick = Yardstick.of(subject.names, whole.values, tolerance, joint=subject.joint)
    asked = Asked(method, samples, whole, yardstick)
    _check_nothing(subject, asked)
    _check_company(subject, asked)
    _check_resuming(subject, asked)
    if too_long is not None:
        _check_too_long(subject, asked, too_long)
    if not scores_empty:
        _check_empty(subject, asked)
    others = [make() for make in variants]
    check_variants(
        method, whole.values, [(m, subject.measure(m, samples).values) for m in others], yardstick
    )
    check_facts_kept(method, facts)
    return whole


def _check_nulls(whole: Rows, samples: Sequence[Sample], scores_empty: bool) -> None:
    law = "what cannot be measured is NaN"
    infinite = np.flatnonzero(np.isinf(whole.values).any(axis=1))
    demand(not len(infinite), law, f"sample {infinite[:1]} has an infinite value, expected NaN")
    known = ~np.isnan(whole.values)
    for k in range(len(samples)):
        if whole.truncated[k]:
            demand(not known[k].any(), law, f"sample {k} is truncated but has a value")
        elif whole.n_tokens[k] == 0 and not scores_empty:
            demand(not known[k].any(), law, f"sample {k} has n_tokens 0 but has a value")
    measured = int(known.any(axis=1).sum())
    demand(
        2 * measured > len(samples),
        "samples can be measured",
        f"only {measured} of {len(samples)} have a value; give the check samples that fit",
    )


def _check_nothing(subject: Subject, asked: Asked) -> None:
    spent = asked.method.ledger.facts()
    none = subject.measure(asked.method, [])
    law = "no samples, no values, no cost"
    demand(len(none.values) == 0, law, f"{len(none.values)} rows for no samples")
    demand(asked.method.ledger.facts() == spent, law, f"{asked.method.ledger.facts()} for nothing")


def _check_company(subject: Subject, asked: Asked) -> None:
    """A row depends on nothing but its sample: not on order, number or kind of the others."""
    n = len(asked.samples)
    for law, order, when in (
        ("asking again changes nothing", [*range(n)], "when asked again"),
        ("order does not matter", _shuffled(n), "in another order"),
        ("batch size does not matter", [*range(n)] * 2, "among twice as many"),
        *(("batch size does not matter", [k], "alone") for k in range(min(n, 3))),
    ):
        _compare(subject, asked, law, asked.method, order, when)


def _check_resuming(subject: Subject, asked: Asked) -> None:
    """A killed run goes on in another process with the samples that are left."""
    fresh, n = subject.make(), len(asked.samples)
    for part in (list(range(n // 2, n)), list(range(n // 2))):
        _compare(subject, asked, "a run can be resumed", fresh, part, "from a second object")


def _check_too_long(subject: Subject, asked: Asked, too_long: Sample) -> None:
    law = "a sample that does not fit is NaN, never cut and never 0"
    found = subject.measure(asked.method, [asked.samples[0], too_long, asked.samples[1]])
    values = found.values[1]
    demand(bool(np.isnan(values).all()), law, f"it is {values[:3]}, expected NaN")
    demand(bool(found.truncated[1]), law, "its truncated flag is False, expected True")
    _compare_neighbours(asked, found, law, "beside a sample that does not fit")


def _check_empty(subject: Subject, asked: Asked) -> None:
    law = "an empty response is NaN, never 0"
    empty = without_response(asked.samples[1])
    found = subject.measure(asked.method, [asked.samples[0], empty, asked.samples[1]])
    values = found.values[1]
    demand(bool(np.isnan(values).all()), law, f"it is {values[:3]}, expected NaN")
    demand(found.n_tokens[1] == 0, law, f"n_tokens is {found.n_tokens[1]}, expected 0")
    demand(not found.truncated[1], law, "its truncated flag is True, expected False")
    _compare_neighbours(asked, found, law, "beside a sample without a response")


def _compare(
    subject: Subject, asked: Asked, law: str, method: Any, order: list[int], when: str
) -> None:
    found = subject.measure(method, [asked.samples[k] for k in order])
    rows = [f"sample {k}" for k in order]
    asked.yardstick.demand_equal(law, found.values, asked.whole.values[order], rows, when)
    for name in ("n_tokens", "truncated"):
        seen, expected = getattr(found, name), getattr(asked.whole, name)[order]
        wrong = np.flatnonzero(seen != expected)
        if len(wrong):
            k = wrong[0]
            demand(False, law, f"{name} of {rows[k]} is {seen[k]} {when}, expected {expected[k]}")


def _compare_neighbours(asked: Asked, found: Rows, law: str, when: str) -> None:
    asked.yardstick.demand_equal(
        law, found.values[[0, 2]], asked.whole.values[[0, 1]], ["sample 0", "sample 1"], when
    )


def _shuffled(n: int) -> list[int]:
    order: list[int] = np.random.default_rng(0).permutation(n).tolist()
    return order
