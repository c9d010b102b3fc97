"""The conformance kit passes a right method of each kind, and each law catches a broken one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from right_methods import (
    LIMIT,
    SAMPLES,
    TOO_LONG,
    Counting,
    Cover,
    Overlap,
    Twin,
    Variety,
)

from influence_store.protocols import Ledger
from influence_store.schema.sample import Sample
from influence_store.testing import (
    ConformanceError,
    check_bilinear,
    check_method,
    check_pairwise,
    check_pointwise,
)


def check(make, **options):
    check_method(make, SAMPLES, too_long=TOO_LONG, **options)


@pytest.mark.parametrize("method", [Variety, Overlap, Twin, Cover])
def test_a_right_method_passes(method):
    reference = getattr(method, "reference", None) if method is not Twin else None
    check(method, reference=reference, variants=[lambda: method(weight=3.0)])


# -- broken in one way each ------------------------------------------------------------------


class Zero(Variety):
    def score(self, samples):
        found = super().score(samples)
        return replace(found, values={k: np.nan_to_num(v) for k, v in found.values.items()})


class ZeroForTooLong(Variety):
    def score(self, samples):
        found = super().score(samples)
        values = {k: np.where(found.truncated, 0.0, v) for k, v in found.values.items()}
        return replace(found, values=values)


class ZeroForEmpty(Variety):
    def score(self, samples):
        found = super().score(samples)
        empty = np.array([not s.response for s in samples], np.bool_)
        return replace(found, values={k: np.where(empty, 0.0, v) for k, v in found.values.items()})


class Unflagged(Variety):
    def cut(self, samples):
        return np.zeros(len(samples), np.bool_)

    def count(self, samples):
        n = super().count(samples)
        return np.where(Counting.cut(self, samples), 0, n)


class BatchMean(Variety):
    """Normalised by the other samples of the call."""

    def score(self, samples):
        found = super().score(samples)
        values = {k: v - np.nanmean(v) if len(v) else v for k, v in found.values.items()}
        return replace(found, values=values)


class SortedByLength(Variety):
    """Sorts to save padding and forgets to sort back."""

    def score(self, samples):
        return super().score(sorted(samples, key=lambda s: len(s.response)))


class Drifting(Variety):
    """Remembers earlier calls."""

    calls = 0

    def score(self, samples):
        self.calls += 1
        found = super().score(samples)
        return replace(found, values={k: v + self.calls for k, v in found.values.items()})


class OwnSeed(Variety):
    """Every object draws its own noise, which no fact tells."""

    made = 0

    def __init__(self, weight=1.0):
        super().__init__(weight)
        OwnSeed.made += 1
        self.noise = OwnSeed.made

    def score(self, samples):
        found = super().score(samples)
        return replace(found, values={k: v * self.noise for k, v in found.values.items()})


class Uncounted(Variety):
    def count(self, samples):
        n = super().count(samples)
        self.ledger = Ledger()
        return n


class PaysForNothing(Variety):
    def score(self, samples):
        self.ledger.llm_passes += 1
        return super().score(samples)


class OutOfBounds(Variety):
    spec = replace(Variety.spec, bounds=(0.0, 0.5))


class Infinite(Variety):
    def score(self, samples):
        found = super().score(samples)
        found.values["variety-raw"][found.n_tokens == 3] = np.inf
        return found


class SilentSetting(Variety):
    facts = property(lambda self: {"method": "variety", "version": 1})


class RestlessFacts(Variety):
    facts = property(lambda self: {"method": "variety", "version": 1, "id": id(self)})


class FactsAfterwards(Variety):
    facts = property(lambda self: {"method": "variety", "version": 1, **self.ledger.facts()})


class NamelessFacts(Variety):
    facts = property(lambda self: {"weight": self.weight})


class FactsNoJson(Variety):
    facts = property(lambda self: {"method": "variety", "version": 1, "set": {1}})


class Float32(Variety):
    def score(self, samples):
        found = super().score(samples)
        return replace(found, values={k: v.astype(np.float32) for k, v in found.values.items()})


class LacksOutput(Variety):
    def score(self, samples):
        found = super().score(samples)
        return replace(found, values={"variety": found.values["variety"]})


class Constant(Variety):
    def score(self, samples):
        found = super().score(samples)
        return replace(found, values={k: v * 0 + 1 for k, v in found.values.items()})


class ForeignOutput(Variety):
    spec = replace(Variety.spec, outputs=("variety", "mood"))


class NoPaper(Variety):
    spec = replace(Variety.spec, paper=" ")


class NoDirection(Variety):
    spec = replace(Variety.spec, higher_means="better")


class NoSpec(Variety):
    spec = None


class SwappedSides(Overlap):
    def row(self, sample, side):
        return super().row(sample, "source" if side == "target" else "target")


class FalseTwin(Overlap):
    symmetric = True


class PartlyNan(Overlap):
    def vectors(self, samples, side):
        found = super().vectors(samples, side)
        found.vectors[found.n_tokens == 0] = 0
        found.vectors[found.n_tokens == 0, 0] = np.nan
        return found


class UnitByBatch(Overlap):
    """Centres the vectors on the mean of the call."""

    def vectors(self, samples, side):
        found = super().vectors(samples, side)
        mean = np.nanmean(found.vectors, axis=0) if len(samples) else 0
        return replace(found, vectors=found.vectors - mean)


class WrongDim(Overlap):
    dim = 9

    def vectors(self, samples, side):
        self.dim = 10
        try:
            return super().vectors(samples, side)
        finally:
            self.dim = 9


class Transposed(Cover):
    """S[source, target]: what the target does for the source."""

    def pair(self, state, source, i):
        if not state["n"][i] or len(source.response) > LIMIT:
            return np.nan, np.nan
        turned = {"texts": [source.response], "n": [len(source.response)]}
        return super().pair(turned, Sample.of("", state["texts"][i]), 0)


class IgnoresPositions(Cover):
    def score(self, state, source, targets):
        return super().score(state, source, np.arange(len(targets)))


class AllTargets(Cover):
    def score(self, state, source, targets):
        return super().score(state, source, np.arange(len(state["texts"])))


class RanksTargets(Cover):
    """Compares a target with the other targets."""

    def prepare(self, targets):
        state = super().prepare(targets)
        return {**state, "n": np.where(state["n"] > 0, state["n"].max(initial=0), 0)}


class Unpicklable(Cover):
    def prepare(self, targets):
        return {**super().prepare(targets), "key": lambda: 0}


class LostInTransit(Cover):
    """Keeps in the object what belongs in the state."""

    def prepare(self, targets):
        self.known = super().prepare(targets)
        return {"n": self.known["n"] + len(targets)}

    def score(self, state, source, targets):
        known = getattr(self, "known", {"texts": [""] * 99, "n": np.ones(99, int)})
        return super().score(known, source, targets)


class SpendsState(Cover):
    def score(self, state, source, targets):
        found = super().score(state, source, targets)
        state["last"] = source.response
        return found


class WarmsUp(Cover):
    """The second source of an object gets other values than the first."""

    scored = 0

    def score(self, state, source, targets):
        if len(targets) > 1:
            self.scored += 1
        found = super().score(state, source, targets)
        return {k: v + np.float32(min(self.scored, 3)) for k, v in found.items()}


class CutsTheSource(Cover):
    def score(self, state, source, targets):
        return super().score(state, Sample.of("", source.response[:LIMIT]), targets)


class CutsTheTarget(Cover):
    def prepare(self, targets):
        return super().prepare([Sample.of("", t.response[:LIMIT]) for t in targets])


class ZeroForEmptyTarget(Cover):
    def pair(self, state, source, i):
        return (0.0, 0.0) if not state["texts"][i] else super().pair(state, source, i)


BROKEN = [
    (Zero, "an empty response is NaN|a sample that does not fit is NaN"),
    (ZeroForTooLong, "a sample that does not fit is NaN, never cut and never 0"),
    (ZeroForEmpty, "an empty response is NaN, never 0"),
    (Unflagged, "its truncated flag is False, expected True"),
    (BatchMean, r"variety of sample \d is .* expected"),
    (SortedByLength, r"order does not matter: variety(-raw)? of sample"),
    (Drifting, "asking again changes nothing: variety of sample 0"),
    (OwnSeed, "a run can be resumed: variety of sample 4"),
    (Uncounted, "ledger counts up: llm_passes is still 0"),
    (PaysForNothing, "no samples, no values, no cost"),
    (OutOfBounds, r"values keep to the bounds of the spec: variety is .* expected 0 to 0.5"),
    (Infinite, r"sample \[2\] has an infinite value, expected NaN"),
    (SilentSetting, "settings that change values are facts: variety of sample 0"),
    (RestlessFacts, "two fresh objects differ in id"),
    (FactsAfterwards, "facts do not change: after scoring they differ in llm_passes, llm_tokens"),
    (NamelessFacts, 'facts hold .* expected "method": "variety" and a "version"'),
    (FactsNoJson, "facts are no JSON"),
    (Float32, r"variety is float32 \(8,\) for 8 samples, expected float64"),
    (LacksOutput, "score gives .* the spec names"),
    (Constant, "samples differ: all samples have the same value"),
    (ForeignOutput, "output 'mood' does not begin with the name 'variety'"),
    (NoPaper, "paper is empty"),
    (NoDirection, "higher_means is 'better', expected one of helpful"),
    (NoSpec, "spec is None"),
    (SwappedSides, r"S\[target, source\] is that of the reference: S\[\d, \d\] is"),
    (FalseTwin, "a symmetric method has one vector per sample: the sides differ in sample 1"),
    (PartlyNan, r"vector \[1\] is NaN in part"),
    (UnitByBatch, "batch size does not matter: dimension 0 of sample 0"),
    (WrongDim, r"vectors are float32 \(8, 10\), expected float32 \(8, 9\)"),
    (Transposed, r"S\[target, source\] is that of the reference"),
    (IgnoresPositions, r"positions may be asked for .*: cover of S\[target 4, source 0\]"),
    (AllTargets, "has shape .* for 0 positions"),
    (RanksTargets, r"cover of S\[target 0, source 0\] is .* with this target alone"),
    (Unpicklable, "the state survives pickling"),
    (LostInTransit, r"the state survives pickling: cover of S"),
    (SpendsState, "scoring leaves the state as it was"),
    (WarmsUp, "expected .* as in one call"),
    (CutsTheSource, "a source that does not fit has"),
    (CutsTheTarget, "a target that does not fit has"),
    (ZeroForEmptyTarget, "a target without a response has"),
]


@pytest.mark.parametrize(("broken", "law"), BROKEN, ids=[b.__name__ for b, _ in BROKEN])
def test_a_broken_method_is_caught_by_its_law(broken, law):
    variants = [lambda: broken(weight=3.0)] if broken is SilentSetting else []
    reference = getattr(broken, "reference", None)
    with pytest.raises(ConformanceError, match=law):
        check(broken, variants=variants, **({"reference": reference} if reference else {}))


def test_a_limit_is_checked_only_where_a_sample_exceeds_it():
    check_pointwise(ZeroForTooLong, SAMPLES)


def test_a_method_may_score_empty_responses_on_purpose():
    check_pointwise(ZeroForEmpty, SAMPLES, scores_empty=True)


@pytest.mark.parametrize(
    ("wrong", "method"),
    [(check_pointwise, Cover), (check_bilinear, Variety), (check_pairwise, Overlap)],
)
def test_a_check_for_another_kind_says_so(wrong, method):
    with pytest.raises(ConformanceError, match=f"it is {method.spec.kind}"):
        wrong(method, SAMPLES)


@pytest.mark.parametrize("samples", [SAMPLES[:3], [SAMPLES[0]] * 9])
def test_too_few_samples_prove_nothing(samples):
    with pytest.raises(ValueError, match=r"a check needs \d or more, all different"):
        check_method(Cover, samples)


def test_samples_that_all_fail_prove_nothing():
    long = [Sample.of(str(k), "a" * (LIMIT + k + 1)) for k in range(6)]
    for method in (Variety, Cover):
        with pytest.raises(ConformanceError, match="give the check samples that fit"):
            check_method(method, long)


def test_a_conformance_error_is_an_assertion():
    assert issubclass(ConformanceError, AssertionError)
