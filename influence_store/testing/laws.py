"""What must hold of every influence function, whatever it yields: spec, facts, ledger, equality.

Values may differ by rounding: by `tolerance` times the typical difference between samples. A law
that is broken by less than a thousandth of what tells samples apart is not seen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import orjson

from influence_store.protocols import HigherMeans, InfluenceSpec, Kind, Need
from influence_store.schema.identity import fingerprint
from influence_store.schema.sample import Sample, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from influence_store.protocols import Doubles

    Make = Callable[[], Any]

TOLERANCE = 1e-3
#: What float32 arithmetic leaves open in a value of any size.
_ROUNDING = 1e-5
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_ASKS_A_MODEL = {"llm", "checkpoints", "null_checkpoints"}


class ConformanceError(AssertionError):
    """An influence function broke a law; the message says which, where and how."""


def demand(right: bool, law: str, told: str) -> None:
    """ConformanceError unless `right`."""
    if not right:
        raise ConformanceError(f"{law}: {told}")


@dataclass(frozen=True)
class Yardstick:
    """How far numbers of one method may lie apart: `allowed` (k,) for its k columns."""

    names: tuple[str, ...]
    allowed: Doubles

    @classmethod
    def of(
        cls, names: Sequence[str], values: Doubles, tolerance: float, *, joint: bool = False
    ) -> Yardstick:
        """From values (n, k) of n samples; `joint` measures whole rows, as parts of a vector."""
        known = values[np.isfinite(values).all(axis=1)] if joint else values
        deviations = np.abs(known - _by_column(np.median, known))
        if joint:
            deviations = np.linalg.norm(deviations, axis=1, keepdims=True)
        typical = _by_column(np.median, deviations)
        # More than half of the samples may be equal, as counts are.
        typical = np.where(typical > 0, typical, _by_column(np.mean, deviations))
        demand(
            bool((typical > 0).any()),
            "samples differ",
            "all samples have the same value, so nothing can be seen to be mixed up; "
            "give the check samples that differ",
        )
        return cls(tuple(names), np.broadcast_to(tolerance * typical, values.shape[1:]))

    def demand_equal(
        self, law: str, found: Doubles, expected: Doubles, rows: Sequence[str], when: str
    ) -> None:
        """(n, k) arrays must agree, NaN with NaN; the message names row, column and `when`."""
        demand(
            found.shape == expected.shape,
            law,
            f"shape {found.shape} {when}, expected {expected.shape}",
        )
        near = np.abs(found - expected) <= self.allowed + _ROUNDING * np.abs(expected)
        wrong = np.argwhere(~(near | (np.isnan(found) & np.isnan(expected))))
        if len(wrong):
            row, column = wrong[0]
            name = self.names[column] if column < len(self.names) else f"dimension {column}"
            raise ConformanceError(
                f"{law}: {name} of {rows[row]} is {found[row, column]:.6g} {when}, "
                f"expected {expected[row, column]:.6g} as in one call"
            )


def check_spec(method: Any) -> InfluenceSpec:
    """The spec is whole and its words are known; `method` is a class or an object."""
    law = "spec is complete"
    spec = getattr(method, "spec", None)
    if not isinstance(spec, InfluenceSpec):
        raise ConformanceError(f"{law}: spec is {spec!r:.60}, expected an InfluenceSpec")
    demand(bool(_NAME.fullmatch(spec.name)), law, f"name is {spec.name!r}, expected a-z 0-9 _ -")
    demand(
        0 < len(spec.outputs) == len(set(spec.outputs)),
        law,
        f"outputs are {spec.outputs}, expected one or more different ones",
    )
    for output in spec.outputs:
        demand(
            output.startswith(spec.name),
            law,
            f"output {output!r} does not begin with the name {spec.name!r}",
        )
    for field, value, known in (
        ("kind", spec.kind, get_args(Kind)),
        ("higher_means", spec.higher_means, get_args(HigherMeans)),
        *(("needs", need, get_args(Need)) for need in spec.needs),
    ):
        demand(value in known, law, f"{field} is {value!r}, expected one of {', '.join(known)}")
    low, high = spec.bounds
    demand(low < high, law, f"bounds are {spec.bounds}, expected low < high")
    demand(bool(spec.paper.strip()), law, "paper is empty, expected where the formula comes from")
    return spec


def check_facts(make: Make) -> Mapping[str, Any]:
    """Facts are JSON, name the method and its version, and are the same for equal settings."""
    law = "equal facts are equal fingerprints"
    one, other = make(), make()
    facts: Mapping[str, Any] = one.facts
    demand(isinstance(facts, Mapping), law, f"facts are {type(facts).__name__}, expected a mapping")
    try:
        marks = fingerprint(facts), fingerprint(orjson.loads(orjson.dumps(facts, option=_JSON)))
    except TypeError as error:
        raise ConformanceError(f"{law}: facts are no JSON: {error}") from error
    demand(marks[0] == marks[1], law, "facts change when they are written as JSON and read again")
    demand(
        facts.get("method") == one.spec.name and "version" in facts,
        law,
        f'facts hold {sorted(facts)}, expected "method": "{one.spec.name}" and a "version"',
    )
    demand(
        fingerprint(other.facts) == marks[0],
        law,
        f"two fresh objects differ in {_different(facts, other.facts)}",
    )
    return facts


def check_facts_kept(method: Any, facts: Mapping[str, Any]) -> None:
    """Scoring leaves the facts as they were."""
    demand(
        fingerprint(method.facts) == fingerprint(facts),
        "facts do not change",
        f"after scoring they differ in {_different(facts, method.facts)}",
    )


def check_variants(
    method: Any, values: Doubles, variants: Sequence[tuple[Any, Doubles]], yardstick: Yardstick
) -> None:
    """Settings that change values change the fingerprint too."""
    mark = fingerprint(method.facts)
    for position, (variant, others) in enumerate(variants):
        if fingerprint(variant.facts) == mark:
            yardstick.demand_equal(
                "settings that change values are facts",
                others,
                values,
                [f"sample {k}" for k in range(len(values))],
                f"for variant {position}, whose facts are the same",
            )


def check_ledger(method: Any, before: Mapping[str, int]) -> None:
    """A method that asks a model has counted passes and tokens since `before`."""
    after = method.ledger.facts()
    law = "ledger counts up"
    demand(
        all(after[name] >= before[name] for name in before), law, f"{after}, before it was {before}"
    )
    if _ASKS_A_MODEL & set(method.spec.needs):
        for name in ("llm_passes", "llm_tokens"):
            demand(after[name] > before[name], law, f"{name} is still {after[name]} after scoring")


def check_bounds(spec: InfluenceSpec, values: Doubles, name: str) -> None:
    """Within the extremes that the spec names."""
    law = "values keep to the bounds of the spec"
    low, high = spec.bounds
    slack = _ROUNDING * max([1.0, *(abs(b) for b in spec.bounds if np.isfinite(b))])
    known = values[~np.isnan(values)]
    for value in known[(known < low - slack) | (known > high + slack)]:
        raise ConformanceError(f"{law}: {name} is {value:.6g}, expected {low:g} to {high:g}")


def without_response(sample: Sample) -> Sample:
    """The same conversation with an empty answer."""
    return Sample((*sample.turns[:-1], Turn("assistant", "")), sample.system, sample.tools)


def enough(samples: Sequence[Sample], least: int) -> None:
    """ValueError unless there are `least` different samples."""
    if len(set(samples)) < max(least, len(samples)):
        raise ValueError(
            f"{len(samples)} samples, {len(set(samples))} of them different; "
            f"a check needs {least} or more, all different"
        )


_JSON = orjson.OPT_SERIALIZE_NUMPY


def _by_column(reduce: Callable[..., Any], values: Doubles) -> Doubles:
    """`reduce` of each column's known values; 0 where there is none."""
    out = np.zeros(values.shape[1:])
    for k in range(values.shape[1]):
        known = values[np.isfinite(values[:, k]), k]
        if len(known):
            out[k] = reduce(known)
    return out


def _different(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    keys = sorted({*one, *other}, key=str)
    names = [str(key) for key in keys if _mark(one, key) != _mark(other, key)]
    return ", ".join(names) or "their order"


def _mark(facts: Mapping[str, Any], key: str) -> str:
    return fingerprint({"value": facts[key]}) if key in facts else ""
