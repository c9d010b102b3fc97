"""Shared runs of words between two sets of texts: against sets of tuples, and what is template."""

from __future__ import annotations

import random

import pytest

from influence_store.overlap.leaks import overlap
from influence_store.overlap.words import WordHashes

HASHES = WordHashes()
VOCABULARY = [f"w{k}" for k in range(12)]


def texts(n, seed, parts=2):
    rng = random.Random(seed)
    return [
        tuple(" ".join(rng.choices(VOCABULARY, k=rng.randint(0, 25))) for _ in range(parts))
        for _ in range(n)
    ]


def hashed(rows):
    return [tuple(HASHES(part) for part in row) for row in rows]


def tuples(row, n):
    return {
        tuple(part.split()[k : k + n]) for part in row for k in range(len(part.split()) - n + 1)
    }


def as_dict(shared):
    pairs = zip(shared.pool.tolist(), shared.target.tolist(), strict=True)
    return dict(zip(pairs, shared.share.tolist(), strict=True))


def test_the_shares_are_those_of_sets_of_tuples():
    pool, target = texts(40, 1), texts(15, 2)
    found, template = overlap(hashed(pool), hashed(target), [2, 3], common=1)
    assert template.runs == 0
    for one in found:
        expected = {}
        for i, theirs in enumerate(pool):
            for j, ours in enumerate(target):
                mine = tuples(ours, one.words)
                if both := mine & tuples(theirs, one.words):
                    expected[i, j] = len(both) / len(mine)
        assert as_dict(one) == expected
        assert list(as_dict(one)) == sorted(expected)
        assert one.unjudged == sum(not tuples(row, one.words) for row in target)
        assert len(expected) > 20


def test_no_run_straddles_prompt_and_response():
    (found,), _ = overlap(hashed([("a b c d",)]), hashed([("a b", "c d")]), [3], common=1)
    assert len(found) == 0


def boiler(k):
    own = " ".join(f"{letter}{k}" for letter in "abcdefg")
    return (f"please answer the following question in full detail now what about {own}",)


@pytest.mark.parametrize("side", ["pool", "target"])
def test_boilerplate_of_one_side_is_no_leak_and_what_it_is_gets_told(side):
    many = [boiler(k) for k in range(30)]
    pool, target = (many, [boiler(100)]) if side == "pool" else ([boiler(100)], many)
    (found,), template = overlap(hashed(pool), hashed(target), [5], common=0.1)
    assert len(found) == 0
    assert (template.words, template.runs, template.rows) == (5, 7, 30)
    assert (template.row, template.part, template.place) == (0, 0, 0)


def test_a_word_shared_by_chance_behind_boilerplate_makes_no_leak():
    template = "please answer the following question in full detail now what about"
    pool = [(f"{template} red pink{k}",) for k in range(9)] + [(template,)] * 30
    target = [(f"{template} red brown{k}",) for k in range(3)]
    (long, _), _ = overlap(hashed(pool), hashed(target), [8, 5], common=0.1)
    assert len(long) == 0
    (long, _), _ = overlap(hashed(pool), hashed(target), [8, 5], common=1)
    assert len(long) > 30


def test_a_real_leak_shows_through_boilerplate_with_its_full_share():
    target = [boiler(k) for k in range(30)]
    (found,), _ = overlap(hashed([boiler(7)]), hashed(target), [5], common=0.1)
    assert as_dict(found) == {(0, 7): 1.0}


def test_ten_copies_of_a_leak_are_not_boilerplate_however_small_the_pool():
    (found,), _ = overlap(hashed([boiler(1)] * 10), hashed([boiler(1)]), [5], common=0.0)
    assert len(found) == 10
    (found,), _ = overlap(hashed([boiler(1)] * 11), hashed([boiler(1)]), [5], common=0.0)
    assert len(found) == 0
    assert found.unjudged == 1


def test_texts_too_short_for_a_run_are_counted_as_not_judged():
    (found,), _ = overlap(hashed([("a b c",), ("",)]), hashed([("a b c",), ("",)]), [5], common=1)
    assert len(found) == 0
    assert found.unjudged == 2


def test_an_empty_pool_or_target_has_no_leak():
    for pool, target in ([], [("a b",)]), ([("a b",)], []), ([], []):
        (found,), _ = overlap(hashed(pool), hashed(target), [2], common=1)
        assert len(found) == 0
