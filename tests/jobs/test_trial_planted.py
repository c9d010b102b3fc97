"""Pools of which it is known what a good selection is worth, tried with the probe.

Every row speaks of one of six topics; words of the question tell the topic, and the answer has
words of its own for it. So there is one thing to learn, and rows that teach it wrongly, or again
and again, are there on purpose. The verdicts below held in ten of ten pools drawn like these.
"""

from __future__ import annotations

import json
import random

import pytest

TOPICS, EXAM, BUDGET = 6, 120, 60


def words(rng, n):
    pairs = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    return ["".join(rng.choices(pairs, k=3)) for _ in range(n)]


_RNG = random.Random(7)
ASKED = [words(_RNG, 6) for _ in range(TOPICS)]
SAID = [words(_RNG, 6) for _ in range(TOPICS)]
ANY = words(_RNG, 40)


def row(rng, asked, said):
    return {"instruction": " ".join(rng.sample(asked, 5)), "output": " ".join(rng.sample(said, 5))}


def honest(rng, n):
    return [row(rng, ASKED[k % TOPICS], SAID[k % TOPICS]) for k in range(n)]


def half_wrong(rng, n=600):
    """Every second answer belongs to another topic."""
    topics = [rng.randrange(TOPICS) for _ in range(n)]
    said = [(t + rng.randrange(1, TOPICS) * (k % 2)) % TOPICS for k, t in enumerate(topics)]
    return [row(rng, ASKED[t], SAID[s]) for t, s in zip(topics, said, strict=True)]


def mostly_repeated(rng, n=300):
    """A fifth of the rows is all there is; the others are six of them again, with a number."""
    kept = honest(rng, n // 5)
    again = [kept[k % 6] for k in range(n - len(kept))]
    return kept + [
        {**one, "instruction": f"{one['instruction']} {k}"} for k, one in enumerate(again)
    ]


def interchangeable(rng, n):
    """Questions say nothing of answers, and no row is better than another."""
    return [row(rng, ANY, ANY) for _ in range(n)]


@pytest.fixture
def verdict(open_cli, tmp_path):
    """Select from a pool by the given options and try the selection on other rows."""

    def tried(pool, exam, *how, aim=()):
        run = open_cli(tmp_path / "store")
        run("init")
        for name, rows in (("pool", pool), ("exam", exam), ("aim", aim)):
            if rows:
                path = tmp_path / f"{name}.jsonl"
                path.write_text("".join(json.dumps(one) + "\n" for one in rows))
                run("ingest", str(path), "--dataset", name)
                run("embed", name, "--embedder", "hashing:32")
        chosen = run.json("select", "pool", "--budget", str(BUDGET), *how)["id"]
        asked = ("--selection", chosen, "--holdout", "exam", "--keep-leaks", "--arms", "random")
        told = run.json("trial", "pool", *asked, "--probe", "--seeds", "5", "--random", "2")
        (comparison,) = told["comparisons"]
        assert comparison["runs"] == 10
        return comparison

    return tried


def test_where_half_of_the_answers_are_wrong_rows_like_the_target_beat_random(verdict):
    # The target is a third set of rows: neither trained on nor judged by.
    rng = random.Random(0)
    told = verdict(
        half_wrong(rng), honest(rng, EXAM), "--target", "aim", "--keep-leaks", aim=honest(rng, 100)
    )
    assert told["verdict"] == "beats"
    assert told["low"] > 0


def test_where_most_rows_are_repeated_coverage_beats_random(verdict):
    rng = random.Random(0)
    told = verdict(mostly_repeated(rng), honest(rng, EXAM))
    assert told["verdict"] == "beats"
    assert told["low"] > 0


def test_where_all_rows_are_as_good_there_is_no_evidence(verdict):
    rng = random.Random(0)
    told = verdict(interchangeable(rng, 300), interchangeable(rng, EXAM))
    assert told["verdict"] == "no evidence"
    assert told["low"] < 0 < told["high"]
    assert told["words"].startswith("no evidence that it beats random")
