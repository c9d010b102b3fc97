"""The leak guard in a store: planted leaks are found with their text, and nothing else is."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest

from influence_store.errors import UsageError
from influence_store.jobs.leaks import Guard, leaks
from influence_store.store.store import Store
from influence_store.version import __version__

VOCABULARY = [f"{a}{b}" for a in ("bar", "ten", "lim", "oru", "sav") for b in "aeioukmnprst"]
HEAD = "Answer the question below step by step and say at the end how sure you are of it."


def text(rng, n):
    return " ".join(rng.choices(VOCABULARY, k=n))


def row(k, n=30):
    rng = random.Random(k)
    return {"instruction": f"{HEAD} {text(rng, n)}", "input": "", "output": text(rng, n)}


EXAM = [row(k) for k in range(40)]
OTHERS = [row(1000 + k) for k in range(60)]
VERBATIM = EXAM[0]
WRAPPED = {**EXAM[1], "instruction": f"Please! {EXAM[1]['instruction'].upper()}?", "output": "No."}
ANSWER_ONLY = {"instruction": "Say something.", "input": "", "output": EXAM[2]["output"]}


def edited(one):
    """Every eleventh word is another: runs of eight stay, none of thirteen does."""
    return " ".join("other" if k % 11 == 9 else word for k, word in enumerate(one.split()))


LIGHT = {**row(2000), "output": edited(EXAM[3]["output"])}
PLANTED = [VERBATIM, WRAPPED, ANSWER_ONLY, LIGHT]


@pytest.fixture
def make(tmp_path, open_cli):
    def written(name="s", embed=False, **datasets):
        run = open_cli(tmp_path / name)
        run("init")
        for dataset, rows in datasets.items():
            path = tmp_path / f"{name}-{dataset}.jsonl"
            path.write_text("".join(json.dumps(one) + "\n" for one in rows))
            run("ingest", str(path), "--dataset", dataset)
            if embed:
                run("embed", dataset, "--embedder", "hashing:64")
        return Store.open(run.root, __version__)

    return written


def search(store, guard=None):
    return leaks(store, store.version("pool"), store.version("exam"), guard)


def found(store, report):
    """(response in the pool, prompt of the target, how) of every match."""
    from influence_store.jobs.samples import read_samples

    sids, samples = read_samples(store, store.version("pool").bits | store.version("exam").bits)
    by_sid = dict(zip(sids.tolist(), samples, strict=True))
    return {
        (by_sid[one["sid"]].response, by_sid[one["target"]].prompt, one["how"])
        for one in report.matches.to_dicts()
    }


def test_planted_leaks_are_found_by_their_sign_and_nothing_else_is(make):
    store = make(pool=[*OTHERS, *PLANTED], exam=EXAM)
    report = search(store)
    expected = {(VERBATIM["output"], EXAM[0]["instruction"], "same")}
    expected |= {("No.", EXAM[1]["instruction"], how) for how in ("13-gram", "8-gram")}
    expected |= {(EXAM[2]["output"], EXAM[2]["instruction"], how) for how in ("13-gram", "8-gram")}
    assert found(store, report) == expected
    assert len(report.bits) == 3


def test_lightly_edited_text_is_found_by_runs_of_eight_where_none_of_thirteen_is_left(make):
    store = make(pool=[*OTHERS, LIGHT], exam=EXAM)
    report = search(store, Guard(share=0.1))
    assert found(store, report) == {(LIGHT["output"], EXAM[3]["instruction"], "8-gram")}
    assert not search(store, Guard(share=0.5)).bits


def test_the_overlap_is_the_longest_run_of_words_that_both_have(make):
    store = make(pool=[*OTHERS, ANSWER_ONLY], exam=EXAM)
    (one,) = search(store, Guard(share=0.9)).matches.to_dicts()
    assert one["overlap"] == EXAM[2]["output"]
    assert one["words"] == 30
    # Prompt and answer have 30 words of their own each, thus 18 runs of 13 each.
    assert one["score"] == 0.5


def test_the_prompt_template_that_all_share_bars_nobody_and_is_told(make):
    store = make(pool=OTHERS, exam=EXAM)
    report = search(store)
    assert len(report.bits) == 0
    assert any("boilerplate" in line and "answer the question" in line for line in report.lines())
    unguarded = search(store, Guard(common=1.0))
    assert len(unguarded.bits) == len(OTHERS)


def test_twins_are_those_pairs_whose_stored_embeddings_are_alike(make):
    turned = {name: edited(EXAM[4][name]) for name in ("instruction", "input", "output")}
    store = make(pool=[*OTHERS, turned], exam=EXAM, embed=True)
    pool, exam = store.version("pool"), store.version("exam")
    (embedder,) = store.producers("embedding")
    a, b = (store.vectors(embedder, one.sids).astype(np.float64) for one in (pool, exam))
    cosine = (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)
    threshold = float(np.sort(cosine.ravel())[-5:-3].mean())
    report = search(store, Guard(cosine=threshold))
    twins = report.matches.filter(report.matches["how"] == "twin")
    rows, targets = np.nonzero(cosine >= threshold)
    assert twins["sid"].to_list() == pool.sids[rows].tolist()
    assert twins["target"].to_list() == exam.sids[targets].tolist()
    assert twins["score"].to_list() == pytest.approx(cosine[rows, targets])
    assert (turned["output"], EXAM[4]["instruction"], "twin") in found(store, report)


def test_without_embeddings_the_report_says_what_was_not_looked_for(make):
    report = search(make(pool=OTHERS, exam=EXAM))
    assert any("paraphrases were not looked for" in line for line in report.lines())
    assert not any("cosine" in line for line in report.lines())


def test_a_dataset_searched_for_itself_is_the_same_throughout_but_not_its_own_neighbour(make):
    store = make(exam=EXAM, embed=True)
    exam = store.version("exam")
    report = leaks(store, exam, exam, Guard(cosine=1.0))
    assert report.counts() == {"same": 40, "13-gram": 0, "8-gram": 0, "twin": 0}


def test_short_and_empty_texts_leak_only_as_the_same_content(make):
    short = [{"instruction": "Hi", "input": "", "output": "Hello"},
             {"instruction": "?", "input": "", "output": "!"}]  # fmt: skip
    store = make(pool=[*OTHERS, short[0], {**short[1], "output": "."}], exam=short)
    report = search(store)
    assert {one["how"] for one in report.matches.to_dicts()} == {"same"}
    assert any("2 target rows have no telling run of 8" in line for line in report.lines())


def test_asked_again_the_answer_is_read(make):
    store = make(pool=[*OTHERS, *PLANTED], exam=EXAM)
    first, again = search(store), search(store)
    assert (first.reused, again.reused) == (False, True)
    assert {**again.facts(), "reused": False} == first.facts()
    assert again.lines() == first.lines()
    assert len(store.blocks("leaks")) == 1


def test_a_bigger_pool_is_another_question(make, open_cli, tmp_path):
    store = make(pool=OTHERS, exam=EXAM)
    assert len(search(store).bits) == 0
    path = tmp_path / "more.jsonl"
    path.write_text(json.dumps(VERBATIM) + "\n")
    open_cli(store.uri)("ingest", str(path), "--dataset", "pool")
    assert len(search(store).bits) == 1
    assert len(leaks(store, store.version("pool@1"), store.version("exam")).bits) == 0


def test_the_report_counts_per_sign_and_shows_three(make):
    store = make(pool=[*OTHERS, *PLANTED], exam=EXAM)
    report = search(store)
    lines = "\n".join(report.lines())
    assert "3 of 64 rows of pool@1 leak 3 rows of exam@1" in lines
    assert "1 the same content" in lines
    assert len(report.examples) == 3
    told = json.loads(json.dumps(report.facts()))
    assert told["rows_per_sign"] == {"same": 1, "13-gram": 2, "8-gram": 2, "twin": 0}
    assert {one["sample_id"] for one in told["matches"]} == {
        one["sample_id"] for one in told["examples"]
    }


@pytest.mark.parametrize("wrong", [{"share": 0.0}, {"cosine": 2.0}, {"common": -0.1}])
def test_a_threshold_outside_its_range_is_refused(wrong):
    with pytest.raises(UsageError, match="is not"):
        Guard(**wrong)


KILLED = """
import sys
from influence_store.jobs.leaks import leaks
from influence_store.store.store import Store
store = Store.open(sys.argv[1], "test")
leaks(store, store.version("pool"), store.version("exam"))
"""


def test_a_search_killed_when_its_answer_is_published_loses_none_of_it(make):
    store = make(pool=[*OTHERS, *PLANTED], exam=EXAM)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, store.uri],
        env={**os.environ, "INFLUENCE_STORE_KILL_AT": "published"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    whole = make("whole", pool=[*OTHERS, *PLANTED], exam=EXAM)
    after = search(store)
    assert after.reused
    assert {**after.facts(), "reused": False} == search(whole).facts()
