from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from influence_store.errors import NotFound, UsageError
from influence_store.selection.budget import Amount
from influence_store.selection.limits import Limits
from influence_store.selection.quotas import Quota, attribute_of, parse_quota, quota_groups

SAMPLES = ["web"] * 6 + ["books"] * 3 + ["code"] * 1

share = st.integers(0, 100).map(lambda k: f"{k}%")
bound = st.one_of(st.just(""), st.integers(0, 8).map(str), share)


def groups(*quotas, samples=SAMPLES, budget=5, **options):
    return quota_groups([parse_quota(text) for text in quotas], samples, budget, **options)


def by_name(found):
    bounds = zip(found.floors.tolist(), found.ceilings.tolist(), strict=True)
    return dict(zip(found.names, bounds, strict=True))


@pytest.mark.parametrize(
    ("text", "attribute", "value", "floor", "ceiling"),
    [
        ("source:web=..30%", "source", "web", None, (Fraction(3, 10), True)),
        ("licence:cc-by=100..500", "licence", "cc-by", (100, False), (500, False)),
        ("source:*=..25%", "source", "*", None, (Fraction(1, 4), True)),
        ("source:t0/a:b=c=5..", "source", "t0/a:b=c", (5, False), None),
        (" file : data/web.jsonl = 1% .. 7 ", "file", "data/web.jsonl", (0.01, True), (7, False)),
        ("kind:(none)=..0", "kind", "(none)", None, (0, False)),
        ("kind:a..b=..3", "kind", "a..b", None, (3, False)),
    ],
)
def test_a_quota_is_an_attribute_a_value_and_two_bounds(text, attribute, value, floor, ceiling):
    def amount(told):
        return told and Amount(Fraction(str(float(told[0]))), relative=told[1])

    expected = Quota(attribute, value, amount(floor), amount(ceiling), text.strip())
    assert parse_quota(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a quota"),
        ("web=..30%", "is not a quota"),
        ("source:web", "is not a quota"),
        (":web=..3", "is not a quota"),
        ("source:=..3", "is not a quota"),
        ("source:web=..", "neither a floor nor a ceiling"),
        ("source:web=30%", "whether it is a floor or a ceiling"),
        ("source:web=..30x", "'30x' in quota source:web=..30x is no number or share"),
        ("source:web=-1..", "'-1' in quota"),
        ("source:web=..1.5", "'1.5' in quota"),
        ("source:web=..101%", "101% in quota source:web=..101% is more than everything"),
    ],
)
def test_anything_else_is_refused_with_what_it_was(text, message):
    with pytest.raises(UsageError, match="quota") as refused:
        parse_quota(text)
    assert message in str(refused.value)
    assert ".." in refused.value.hint


def test_one_bare_amount_is_answered_with_both_things_it_may_mean():
    with pytest.raises(UsageError, match=r"source:web=\.\.30%; at least: source:web=30%\.\."):
        parse_quota("source:web=30%")


def test_quotas_on_two_attributes_are_no_partition():
    with pytest.raises(UsageError, match=r"quotas on source and licence.*overlap"):
        groups("source:web=..3", "licence:mit=1..")
    assert attribute_of([parse_quota("a:x=..1"), parse_quota("a:y=..1")]) == "a"


def test_floors_are_rounded_up_and_ceilings_down():
    found = groups("source:web=30%..70%", "source:books=..50%")
    assert by_name(found) == {"web": (2, 3), "books": (0, 2), "code": (0, 1)}
    assert [found.names[k] for k in found.groups] == SAMPLES


def test_the_star_stands_for_those_without_a_quota_of_their_own():
    found = groups("source:*=..20%", "source:web=..4")
    assert by_name(found) == {"web": (0, 4), "books": (0, 1), "code": (0, 1)}


def test_groups_are_those_of_limits():
    found = groups("source:web=1..3")
    limits = Limits(5, **vars(found))
    limits.check(len(SAMPLES))
    assert limits.names[limits.groups[0]] == "web"


@pytest.mark.parametrize(
    ("quotas", "message"),
    [
        (["source:web=..3", "source:web=1.."], "two quotas for source:web"),
        (["source:web=50%..50%"], "at least 3 and at most 2 of 5 samples"),
        (["source:web=3..2"], "at least 3 and at most 2 of 5 samples"),
        (["source:books=4.."], "at least 4 samples, and there are 3"),
        (["source:*=2.."], "for source:code asks for at least 2 samples, and there are 1"),
        (["source:web=4..", "source:books=2.."], "at least 6 samples in all, and the budget is 5"),
        (["source:*=..1"], "at most 3 samples in all, and the budget is 5"),
    ],
)
def test_what_no_selection_can_keep_is_refused_with_the_numbers(quotas, message):
    with pytest.raises(UsageError) as refused:
        groups(*quotas)
    assert message in str(refused.value)
    assert refused.value.hint


def test_a_value_that_no_sample_has_is_answered_with_the_nearest():
    with pytest.raises(NotFound, match="no source named 'wbe'; did you mean web"):
        groups("source:wbe=..3")


def test_shares_of_an_unknown_number_of_samples_are_refused():
    assert by_name(groups("source:*=..1", shares=False))["web"] == (0, 1)
    with pytest.raises(UsageError, match="not known beforehand"):
        groups("source:web=..1", "source:books=..10%", shares=False)


@given(st.tuples(bound, bound), st.tuples(bound, bound), st.integers(1, 10))
def test_exactly_the_quotas_that_some_selection_keeps_are_accepted(web, other, budget):
    told = [("web", web), ("*", other)]
    web = web if any(web) else other
    quotas = [f"source:{name}={low}..{high}" for name, (low, high) in told if low or high]
    if not quotas:
        return

    def keeps(count, bounds):
        low, high = (exact(bound, budget) for bound in bounds)
        return (low is None or count >= low) and (high is None or count <= high)

    sizes = Counter(SAMPLES)
    kept = [
        dict(zip(sizes, counts, strict=True))
        for counts in product(*(range(size + 1) for size in sizes.values()))
        if sum(counts) == budget
        and all(
            keeps(count, web if name == "web" else other)
            for name, count in zip(sizes, counts, strict=True)
        )
    ]
    try:
        found = by_name(groups(*quotas, budget=budget))
    except UsageError:
        assert not kept
        return
    assert kept
    allowed = [
        dict(zip(sizes, counts, strict=True))
        for counts in product(*(range(size + 1) for size in sizes.values()))
        if sum(counts) == budget
        and all(
            found[name][0] <= count <= found[name][1]
            for name, count in zip(sizes, counts, strict=True)
        )
    ]
    assert allowed == kept


def exact(text, budget):
    """The bound as it is written, never rounded."""
    if not text:
        return None
    return Fraction(text[:-1]) * budget / 100 if text.endswith("%") else Fraction(text)


@given(st.lists(st.text(max_size=3), min_size=1, max_size=30))
def test_every_sample_is_in_the_group_of_its_value(samples):
    found = groups("any:*=0..", samples=samples, budget=1)
    assert [found.names[k] for k in found.groups] == samples
    assert len(found.names) == len(set(samples))
    assert found.ceilings.tolist() == np.bincount(found.groups).tolist()
