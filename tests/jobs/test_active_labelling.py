"""Active labelling against a method whose answers are known, on a real store."""

from __future__ import annotations

import json

import numpy as np
import pytest

from influence_store.embedding.hashing import HashingEmbedder
from influence_store.errors import Incompatible, InputError, UsageError
from influence_store.ingest.spool import ReadSettings
from influence_store.jobs.active import label_active
from influence_store.jobs.budget import Budget
from influence_store.jobs.embed import embed
from influence_store.jobs.ingest import ingest
from influence_store.jobs.label_pairs import label_pairs, pairs_producer
from influence_store.jobs.samples import read_samples
from influence_store.protocols import InfluenceSpec, Ledger
from influence_store.store.store import Store
from influence_store.version import __version__

ROWS, TOPICS = 30, 6
WORDS = ["apple", "brick", "cloud", "drum", "eagle", "fern"]


class Topical:
    """A source helps targets of its topic, but no pair is like another (`noise`).

    Every pair asked is written down.
    """

    spec = InfluenceSpec("topical", ("topical", "again"), "helpful", "none")

    def __init__(self, *, dies_after=None, nulls=False, noise=1.0):
        self.ledger = Ledger()
        self.facts = {"method": "topical", "version": 1, "nulls": nulls, "noise": noise}
        self.asked = []
        self.dies_after, self.nulls, self.noise = dies_after, nulls, noise

    def prepare(self, targets):
        return [number(one) for one in targets]

    def score(self, state, source, targets):
        if self.dies_after is not None and len(self.asked) >= self.dies_after:
            raise RuntimeError("the machine went down")
        j = number(source)
        rows = [state[k] for k in targets]
        self.asked += [(j, i) for i in rows]
        self.ledger.llm_passes += len(rows)
        values = np.array([value(i, j, self.noise) for i in rows], np.float32)
        if self.nulls:
            values[:] = np.nan
        return {"topical": values, "again": 2 * values}


def number(sample):
    return int(sample.prompt.split()[-1])


def value(i, j, noise=1.0):
    same = i % TOPICS == j % TOPICS
    return 1.5 * same + (j % 5) / 5 + noise * float(np.random.default_rng((i, j)).normal())


@pytest.fixture(scope="module")
def folder(tmp_path_factory, backend):
    base = tmp_path_factory.mktemp("active")
    rows = base / "rows.jsonl"
    texts = [
        {"instruction": f"{WORDS[k % TOPICS]} {WORDS[k % TOPICS]} {k}", "input": "", "output": "y"}
        for k in range(ROWS)
    ]
    rows.write_text("".join(json.dumps(one) + "\n" for one in texts))
    uri, database = backend.new(base / "store")
    made, _ = Store.init(uri, __version__, database)
    ingest(made, [str(rows)], "demo", settings=ReadSettings())
    embed(made, made.version("demo"), HashingEmbedder(32), "hashing:32")
    made.database.close()
    return uri


@pytest.fixture
def fresh(folder, tmp_path, copy_store):
    opened = []

    def copy(name="store"):
        opened.append(Store.open(copy_store(folder, tmp_path / name), __version__))
        return opened[-1]

    yield copy
    for store in opened:
        store.database.close()


@pytest.fixture
def restless(monkeypatch):
    """No selection is ever settled: only the budget ends a run."""
    monkeypatch.setattr("influence_store.jobs.active.settled", lambda changes: False)


def active(store, method, n_pairs=150, **more):
    version = store.version("demo")
    return label_active(store, version, version, method, Budget(pairs=n_pairs), 0, **more)


def stored(store, method):
    return store.pairs(pairs_producer(store, method)).sort("source", "target")


def test_every_pair_is_asked_once_and_stored_with_its_value(fresh):
    store, method = fresh(), Topical()
    report = active(store, method)
    assert len(method.asked) == len(set(method.asked)) == report.pairs.scored <= 150
    assert all(i != j for j, i in method.asked)
    kept = stored(store, method)
    assert kept.height == report.pairs.scored
    assert sorted(kept["topical"].to_list()) == pytest.approx(
        sorted(value(i, j) for j, i in method.asked), abs=1e-6
    )
    assert report.facts()["rounds"] == 1 + len(report.changes) > 2
    assert report.stopped in "\n".join(report.lines())


def test_a_repeated_run_asks_nothing_and_says_the_same(fresh):
    store = fresh()
    first = active(store, Topical())
    again_method = Topical()
    again = active(store, again_method)
    assert again_method.asked == []
    assert (again.pairs.scored, again.pairs.reused) == (0, first.pairs.scored)
    assert (again.changes, again.stopped) == (first.changes, first.stopped)


@pytest.mark.parametrize("dies_after", [30, 100])
def test_a_killed_run_goes_on_and_ends_with_the_same_labels(
    fresh, restless, monkeypatch, dies_after
):
    store, dying, rest, whole = fresh(), Topical(dies_after=dies_after), Topical(), Topical()
    with monkeypatch.context() as publishing:
        publishing.setattr("influence_store.jobs.label_pairs.LEAST_PAIRS", 1)
        publishing.setattr("influence_store.jobs.label_pairs.MOST_PAIRS", 1)
        with pytest.raises(RuntimeError, match="went down"):
            active(store, dying)
    active(store, rest)
    assert not set(dying.asked) & set(rest.asked)
    active(fresh("whole"), whole)
    assert sorted(dying.asked + rest.asked) == sorted(whole.asked)
    assert stored(store, rest).height == len(whole.asked)


def test_pairs_known_from_another_design_are_not_paid_for_again(fresh):
    store, before, now = fresh(), Topical(), Topical()
    version = store.version("demo")
    label_pairs(store, version, version, before, Budget(pairs=225), 0, design="column")
    report = active(store, now)
    assert not set(before.asked) & set(now.asked)
    assert report.pairs.reused > 0


def test_it_finds_better_sources_than_the_same_passes_at_random(fresh, restless):
    store, ours = fresh(), Topical(noise=0.5)
    active(store, ours, n_pairs=240)
    store, chance = fresh("chance"), Topical(noise=0.5)
    version = store.version("demo")
    label_pairs(store, version, version, chance, Budget(pairs=240), 0, design="scatter")
    assert best_known(ours) > best_known(chance) + 0.1


def best_known(method):
    """The best source known to each target: mean over targets."""
    values = np.full((ROWS, ROWS), -np.inf)
    for j, i in method.asked:
        values[i, j] = value(i, j, method.noise)
    return values.max(axis=1).mean()


def test_a_bigger_budget_continues_a_smaller_one(fresh, restless):
    store, small, large = fresh(), Topical(), Topical()
    active(store, small, n_pairs=4 * ROWS)
    active(store, large, n_pairs=150)
    assert not set(small.asked) & set(large.asked)
    assert len(small.asked) + len(large.asked) == 150


def test_all_pairs_can_be_asked_and_the_run_says_so(fresh, restless, monkeypatch):
    monkeypatch.setattr("influence_store.jobs.active.MAX_SIDE", 12)
    store, method = fresh(), Topical()
    report = active(store, method, n_pairs=5000)
    assert report.stopped == "all pairs are asked"
    sources, targets = (set(side) for side in zip(*method.asked, strict=True))
    every = {(j, i) for j in sources for i in targets if i != j}
    assert len(sources) == len(targets) == 12
    assert sorted(method.asked) == sorted(every)


def test_it_stops_when_the_selection_has_settled(fresh):
    store, method = fresh(), Topical(noise=0.0)
    report = active(store, method, n_pairs=ROWS * (ROWS - 1))
    assert report.stopped == "the selection has settled"
    assert [one.small for one in report.changes[-2:]] == [True, True]
    assert report.pairs.scored < ROWS * (ROWS - 1)


def test_a_big_pool_is_cut_by_content_and_the_report_tells(fresh, monkeypatch):
    monkeypatch.setattr("influence_store.jobs.active.MAX_SIDE", 20)
    store, method = fresh(), Topical()
    report = active(store, method, n_pairs=100)
    assert report.facts()["pool"] == [20, 20]
    assert "20 targets × 20 sources" in "\n".join(report.lines())
    sources, targets = (set(side) for side in zip(*method.asked, strict=True))
    assert max(len(sources), len(targets)) <= 20


def test_minutes_end_the_run(fresh):
    store, method = fresh(), Topical()
    version = store.version("demo")
    report = label_active(store, version, version, method, Budget(minutes=1e-6), 0)
    assert report.stopped == "the time is over"
    assert 0 < report.pairs.scored < 100


def test_answers_that_are_all_null_are_an_error_with_a_hint(fresh):
    with pytest.raises(InputError, match="none of the first") as caught:
        active(fresh(), Topical(nulls=True))
    assert "influence-store label" in caught.value.hint


@pytest.mark.parametrize("wrong", [{"n_pairs": 15}, {"select_share": 0.0}, {"select_share": 1.0}])
def test_a_request_that_makes_no_sense_is_refused_before_any_pass(fresh, wrong):
    method = Topical()
    with pytest.raises(UsageError):
        active(fresh(), method, **wrong)
    assert method.asked == []


def test_samples_without_embeddings_are_refused_before_any_pass(fresh, tmp_path):
    store, method = fresh(), Topical()
    more = tmp_path / "more.jsonl"
    more.write_text(json.dumps({"instruction": "new 99", "input": "", "output": "y"}) + "\n")
    ingest(store, [str(more)], "other", settings=ReadSettings())
    with pytest.raises(Incompatible):
        label_active(
            store, store.version("demo"), store.version("other"), method, Budget(pairs=50), 0
        )
    assert method.asked == []


@pytest.mark.parametrize("design", ["complete", "block", "column", "scatter"])
def test_every_design_labels_its_pairs_and_a_bigger_budget_continues(fresh, design):
    store = fresh()
    version = store.version("demo")
    small, large = Topical(), Topical()
    label_pairs(store, version, version, small, Budget(pairs=100), 0, design=design)
    report = label_pairs(store, version, version, large, Budget(pairs=225), 0, design=design)
    assert report.facts()["design"] == design
    assert report.reused == len(small.asked)
    assert not set(small.asked) & set(large.asked)
    frame = stored(store, large)
    right = [value(i, j) for j, i in numbers(store, frame)]
    assert frame["topical"].to_list() == pytest.approx(right, abs=1e-6)


def numbers(store, frame):
    """(source, target) of each stored pair as the numbers of their samples."""
    sids, samples = read_samples(store, store.version("demo").bits)
    by_sid = dict(zip(sids.tolist(), map(number, samples), strict=True))
    return [(by_sid[j], by_sid[i]) for j, i in frame.select("source", "target").iter_rows()]
