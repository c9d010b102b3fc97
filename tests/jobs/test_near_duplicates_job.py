"""Near duplicates in a store: planted ones are found, new rows alone are compared, once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from pyroaring import BitMap

from influence_store.errors import NotFound, UsageError
from influence_store.jobs.duplicate_edges import Alike
from influence_store.jobs.near_duplicates import (
    DuplicatesReport,
    duplicates,
    near_duplicates,
    surplus,
)
from influence_store.jobs.samples import read_samples
from influence_store.store.store import Store
from influence_store.version import __version__

VOCABULARY = [f"{a}{b}" for a in ("bar", "ten", "lim", "oru", "sav") for b in "aeioukmnprst"]
WORDS_ONLY = Alike(cosine=1.0)


def text(rng, n):
    return " ".join(rng.choices(VOCABULARY, k=n))


def row(k):
    rng = random.Random(k)
    return {"instruction": text(rng, 25), "input": "", "output": text(rng, 25)}


def near(one, word="zzz"):
    """The same row with its last word changed: 47 of 49 runs of three words are shared."""
    return {**one, "output": one["output"].rsplit(" ", 1)[0] + f" {word}"}


@pytest.fixture
def make(tmp_path, open_cli):
    """Writes rows into a dataset of a store; every call is a version."""

    def written(name, *versions, dataset="demo", embed=False):
        run = open_cli(tmp_path / name)
        run("init")
        for k, rows in enumerate(versions):
            path = tmp_path / f"{name}-{dataset}-{k}.jsonl"
            path.write_text("".join(json.dumps(one) + "\n" for one in rows))
            run("ingest", str(path), "--dataset", dataset, "--no-fill")
            if embed:
                run("embed", dataset, "--embedder", "hashing:64")
        return Store.open(run.root, __version__)

    return written


def texts(store, sids):
    _, samples = read_samples(store, BitMap(sids.astype(np.uint32)))
    return [one.prompt + one.response for one in samples]


def told(store, found):
    """Clusters as sets of texts, which know no sids."""
    return {frozenset(texts(store, sids)) for sids in found.by_size()}


def edges_of(store, found):
    edges = found.edges
    pairs = zip(edges.a, edges.b, edges.similarity, edges.how, strict=True)
    return {
        (frozenset(texts(store, np.array([a, b]))), similarity, str(how))
        for a, b, similarity, how in pairs
    }


BASE = [row(k) for k in range(20)]
COPIES = [near(BASE[3]), near(BASE[3], "yyy"), near(BASE[11])]


def test_planted_copies_are_found_and_nothing_else(make):
    store = make("s", [*BASE, *COPIES])
    found = near_duplicates(store, store.version("demo"), WORDS_ONLY)
    as_text = [{one["instruction"] + one["output"] for one in rows} for rows in
               ([BASE[3], COPIES[0], COPIES[1]], [BASE[11], COPIES[2]])]  # fmt: skip
    assert told(store, found) == {frozenset(one) for one in as_text}
    assert all(found.edges.b < found.edges.a)
    # 50 words have 48 runs of three; the changed last word takes one of them away.
    assert found.edges.similarity.tolist() == pytest.approx([47 / 49] * 4)


def test_edges_are_those_of_brute_force(make):
    rng = random.Random(0)
    rows = [*BASE]
    for share in (0.01, 0.02, 0.05, 0.1):
        rows += [
            {**one, "output": " ".join(
                rng.choice(VOCABULARY) if rng.random() < share else word
                for word in one["output"].split())} for one in BASE
        ]  # fmt: skip
    store = make("s", rows)
    version = store.version("demo")
    found = near_duplicates(store, version, Alike(jaccard=0.7, shingle=2))
    sids, samples = read_samples(store, version.bits)
    runs = {}
    for sid, one in zip(sids.tolist(), samples, strict=True):
        split = (one.prompt + " " + one.response).split()
        runs[sid] = set(pairwise(split))
    expected = {
        (a, b): len(runs[a] & runs[b]) / len(runs[a] | runs[b]) for a in runs for b in runs if b < a
    }
    expected = {pair: share for pair, share in expected.items() if share >= 0.7}
    pairs = zip(found.edges.a.tolist(), found.edges.b.tolist(), strict=True)
    assert dict(zip(pairs, found.edges.similarity.tolist(), strict=True)) == expected
    assert len(expected) > 50


@pytest.mark.parametrize("embed", [False, True])
def test_a_new_version_has_the_edges_of_a_run_from_scratch(make, embed):
    first, second = [*BASE[:12], COPIES[0]], [*BASE[12:], *COPIES[1:], near(BASE[15])]
    alike = Alike(cosine=0.9)
    grown = make("grown", first, embed=embed)
    near_duplicates(grown, grown.version("demo"), alike)
    grown.database.close()
    grown = make("grown", second, embed=embed)
    compared = duplicates(grown, grown.version("demo"), alike)
    scratch = make("scratch", [*first, *second], embed=embed)
    turned = make("turned", [*second, *first][::-1], embed=embed)
    told_grown = edges_of(grown, near_duplicates(grown, grown.version("demo"), alike))
    assert compared.compared == len(second)
    for other in (scratch, turned):
        assert edges_of(other, near_duplicates(other, other.version("demo"), alike)) == told_grown
    hows = {how for _, _, how in told_grown}
    assert hows == ({"words", "twins"} if embed else {"words"})


def test_rows_of_other_datasets_are_compared_once_and_counted_only_together(make):
    store = make("s", BASE)
    make("s", [COPIES[0]], dataset="other").database.close()
    assert len(near_duplicates(store, store.version("demo"), WORDS_ONLY)) == 0
    assert len(near_duplicates(store, store.version("other"), WORDS_ONLY)) == 0
    make("s", [BASE[3]], dataset="other").database.close()
    report = duplicates(store, store.version("other"), WORDS_ONLY)
    assert (report.compared, report.clusters, report.rows_in_clusters) == (0, 1, 2)


def test_an_earlier_version_does_not_know_later_copies(make):
    store = make("s", BASE, COPIES)
    assert len(near_duplicates(store, store.version("demo@2"), WORDS_ONLY)) == 2
    assert len(near_duplicates(store, store.version("demo@1"), WORDS_ONLY)) == 0


def test_asked_again_nothing_is_compared_and_nothing_is_run(make):
    store = make("s", [*BASE, *COPIES])
    first = duplicates(store, store.version("demo"))
    blocks = [one.path for one in store.blocks("duplicates")]
    again = duplicates(store, store.version("demo"))
    assert (first.compared, again.compared) == (23, 0)
    assert [one.path for one in store.blocks("duplicates")] == blocks
    assert {**again.facts(), "compared": 23} == first.facts()


def test_another_threshold_is_another_fact(make):
    store = make("s", [*BASE, *COPIES])
    assert len(near_duplicates(store, store.version("demo"), Alike(jaccard=0.99))) == 0
    assert len(near_duplicates(store, store.version("demo"), Alike(jaccard=0.8))) == 2


def test_short_and_wordless_texts_are_alike_only_if_they_are_the_same_words(make):
    rows = [
        {"instruction": asked, "input": "", "output": said}
        for asked, said in [("Hi", "!"), ("hi", "?"), ("?", "!"), ("!", "?"), ("Hi", "you")]
    ]
    store = make("s", rows)
    found = near_duplicates(store, store.version("demo"))
    assert told(store, found) == {frozenset({"Hi!", "hi?"})}


def test_a_system_prompt_that_all_share_makes_nobody_alike(make):
    system = text(random.Random(9), 400)
    chats = [
        {"messages": [
            {"role": "system", "content": system},
            {"role": "user", "content": one["instruction"]},
            {"role": "assistant", "content": one["output"]},
        ]} for one in BASE
    ]  # fmt: skip
    store = make("s", chats)
    assert len(near_duplicates(store, store.version("demo"))) == 0


def test_who_stays_is_the_first_the_longest_or_the_highest(make, tmp_path):
    long = {**BASE[3], "output": COPIES[0]["output"] + " indeed"}
    store = make("s", [BASE[3], near(BASE[3]), long, *BASE[4:]])
    version = store.version("demo")
    found = near_duplicates(store, version, WORDS_ONLY)
    (cluster,) = found.by_size()
    lengths = dict(zip(cluster.tolist(), map(len, texts(store, cluster)), strict=True))
    longest = max(lengths, key=lengths.get)
    for policy, stays in [("keep-first", int(cluster[0])), ("longest", longest)]:
        gone = surplus(store, version, found, policy)
        assert set(gone.bits) == set(cluster.tolist()) - {stays}
        assert set(gone.instead.tolist()) == {stays}
        assert gone.reasons == {"words": 2}
    assert lengths[longest] > lengths[int(cluster[0])]


def test_the_highest_by_a_stored_column_stays(make, tmp_path, open_cli):
    store = make("s", [BASE[3], near(BASE[3]), near(BASE[3], "yyy")])
    version = store.version("demo")
    found = near_duplicates(store, version, WORDS_ONLY)
    from influence_store.schema import tables

    producer = store.producer("points", "judge", {"outputs": ["judge"]})
    values = [0.1, None, 0.7]
    batch = pa.record_batch(
        [pa.array(version.sids), pa.array(values, pa.float64()),
         pa.array([1, 1, 1]), pa.array([False] * 3)],
        schema=tables.points(["judge"]),
    )  # fmt: skip
    with store.claim("label", "x", {}) as run:
        run.publish([run.stage("points", [batch], batch.schema, version.bits,
                               producer_id=producer.id)])  # fmt: skip
    gone = surplus(store, version, found, "highest:inf_judge")
    assert set(gone.instead.tolist()) == {int(version.sids[2])}
    with pytest.raises(NotFound, match="inf_judge"):
        surplus(store, version, found, "highest:inf_jugde")


def test_a_policy_that_does_not_exist_names_those_that_do(make):
    store = make("s", BASE[:2])
    version = store.version("demo")
    with pytest.raises(UsageError, match="keep-first, longest, highest:COLUMN"):
        surplus(store, version, near_duplicates(store, version), "last")


@pytest.mark.parametrize("threshold", [{"jaccard": 0.0}, {"cosine": 1.5}, {"jaccard": -1.0}])
def test_a_threshold_outside_its_range_is_refused(threshold):
    with pytest.raises(UsageError, match="above 0 and at most 1"):
        Alike(**threshold)


def test_the_report_shows_the_largest_clusters_and_the_next_command(make):
    store = make("s", [*BASE, *COPIES])
    report = duplicates(store, store.version("demo"))
    lines = "\n".join(report.lines())
    assert "5 of 23 rows are near duplicates, in 2 clusters" in lines
    assert "influence-store embed demo@1" in lines
    assert "would leave out 3 rows" in lines
    assert BASE[3]["instruction"][:40] in lines
    assert [one["rows"] for one in report.facts()["largest"]] == [3, 2]
    json.dumps(report.facts())


def test_why_more_stays_than_one_row_of_each_cluster_is_told():
    known = {"dataset": "demo@1", "rows": 900, "compared": 0, "edges": {}, "largest": ()}
    counts = {"clusters": 91, "rows_in_clusters": 800, "surplus": 617, "note": ""}
    told = DuplicatesReport(**known, **counts, settings={"jaccard": 0.7, "cosine": 0.95}).lines()
    assert "would leave out 617 rows" in told[-2]
    assert "one row stays, and 92 others that repeat none of the rows that stay" in told[-1]
    one_each = DuplicatesReport(
        **known, **{**counts, "surplus": 709}, settings={"jaccard": 0.7, "cosine": 0.95}
    ).lines()
    assert "would leave out 709 rows" in one_each[-1]


KILLED = """
import sys
from influence_store.jobs import duplicate_edges as edges
from influence_store.jobs.near_duplicates import near_duplicates
from influence_store.store.store import Store
edges.KEY_ROWS = edges.WORD_ROWS = edges.TWIN_ROWS = 6
store = Store.open(sys.argv[1], "test")
near_duplicates(store, store.version("demo"), edges.Alike(cosine=0.9))
"""


def test_a_killed_run_is_finished_by_the_next(make):
    store = make("killed", [*BASE, *COPIES], embed=True)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, store.uri],
        env={**os.environ, "INFLUENCE_STORE_KILL_AT": "block-synced:10"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    alike = Alike(cosine=0.9)
    whole = make("whole", [*BASE, *COPIES], embed=True)
    finished = near_duplicates(store, store.version("demo"), alike)
    assert edges_of(store, finished) == edges_of(
        whole, near_duplicates(whole, whole.version("demo"), alike)
    )
    assert duplicates(store, store.version("demo"), alike).compared == 0
