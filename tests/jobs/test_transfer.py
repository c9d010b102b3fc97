"""`evaluate`: an estimator on another dataset's labels, planted so that the truth is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from manifest import MANIFEST

from influence_store.errors import Incompatible, InputError, NotFound, UsageError
from influence_store.jobs.estimators import find_estimator
from influence_store.jobs.evaluate import evaluate, known_transfer
from influence_store.network.figures import spearman
from influence_store.store.store import Store
from influence_store.version import __version__

HOME, AWAY = range(90), range(200, 260)
IDENTITY = {**MANIFEST, "method": "planted", "kind": "pairwise"}


class Planter:
    """A store with two datasets, and labels S = v_iᵀ B v_j of their embeddings v, or noise."""

    def __init__(self, run, folder):
        self.run, self.folder, self.written = run, folder, 0
        rng = np.random.default_rng(0)
        # The same on both datasets: what an estimator can carry from one to the other.
        self.left, self.right = rng.normal(size=(2, 32, 2))

    def ids(self, dataset):
        sql = f"select sample_id from {dataset} order by line"
        return [row["sample_id"] for row in self.run.json("query", sql)]

    def vectors(self, ids):
        store = Store.open(self.run.root, __version__)
        (embedder,) = store.producers("embedding")
        known = store.sample_ids()
        sid = dict(zip([one.hex() for one in known["sample_id"]], known["sid"], strict=True))
        found = store.vectors(embedder, np.array([sid[one] for one in ids]))
        store.database.close()
        return found.astype(np.float64)

    def values(self, targets, sources):
        return (self.vectors(targets) @ self.left) @ (self.vectors(sources) @ self.right).T

    def label(self, targets, sources, values=None, **identity):
        """Import labels (n_targets, n_sources) of the samples with these ids."""
        self.written += 1
        folder = self.folder / f"labels{self.written}"
        folder.mkdir()
        values = self.values(targets, sources) if values is None else values
        np.save(folder / "scores.npy", values.T.astype(np.float32))
        told = {**IDENTITY, "source_ids": sources, "target_ids": targets, **identity}
        (folder / "identity.json").write_text(json.dumps(told))
        self.run(
            *("import", str(folder / "scores.npy"), "--format", "dattri"),
            *("--identity", str(folder / "identity.json")),
        )

    def evaluate(self, dataset="away", targets=None, **options):
        store = Store.open(self.run.root, __version__)
        try:
            served = store.version(targets or dataset)
            return evaluate(store, "known", store.version(dataset), served, **options)
        finally:
            store.database.close()


@pytest.fixture(scope="module")
def taught(tmp_path_factory, open_cli, write_rows):
    """Two datasets; an estimator of the planted teacher, taught on the first half of `home`."""
    folder = tmp_path_factory.mktemp("transfer")
    run = open_cli(folder / "store")
    run("init")
    for name, rows in (("home", HOME), ("away", AWAY)):
        run("ingest", str(write_rows(folder / f"{name}.jsonl", rows)), "--dataset", name)
        run("embed", name, "--embedder", "hashing:32")
    planter = Planter(run, folder)
    home = planter.ids("home")
    planter.label(home[:40], home[40:])
    run(
        *("train", "home", "--method", "planted", "--name", "known"),
        *("--network", "two-step-kernel-ridge"),
    )
    return run.root


@pytest.fixture
def planter(taught, tmp_path, open_cli, copy_store):
    return Planter(open_cli(copy_store(taught, tmp_path / "store")), tmp_path)


def test_a_teacher_that_says_the_same_elsewhere_is_ranked_well_there(planter):
    away = planter.ids("away")
    planter.label(away[:25], away[25:])
    report = planter.evaluate()
    (known,) = planter.run.json("card", "known")["transfers"]
    assert (known["dataset"], known["verdict"]) == ("away@1", report.card.verdict)
    assert f"on away@1: {report.card.verdict}, rank ρ" in planter.run("card")
    assert report.card.spearman.low > 0.3
    assert report.card.over_cosine.low > 0
    assert report.card.verdict in ("trusted", "weak")
    assert (report.same_teacher, report.pairs, report.seen) == (True, 25 * 35, 0)


def test_a_teacher_that_says_something_else_there_is_no_better_than_mean(planter):
    away = planter.ids("away")
    planter.label(away[:25], away[25:], np.random.default_rng(1).normal(size=(25, 35)))
    report = planter.evaluate()
    assert report.card.verdict == "no better than mean"
    assert abs(report.card.spearman.mean) < 0.15
    assert report.home_verdict != "no better than mean"


def test_the_rank_agreement_is_recomputed_from_stored_vectors_and_labels(planter):
    """Another way: `fill`, then the head over stored vectors."""
    away = planter.ids("away")
    planter.label(away[:25], away[25:])
    planter.run("fill", "away", "--estimator", "known")
    store = Store.open(planter.run.root, __version__)
    trained = find_estimator(store, "known")
    known = store.sample_ids()
    sid = dict(zip([one.hex() for one in known["sample_id"]], known["sid"], strict=True))
    targets, sources = (np.array([sid[one] for one in part]) for part in (away[:25], away[25:]))
    predicted = trained.open(store).influence(
        store.vectors(trained.producer, targets, "target_vector"),
        store.vectors(trained.producer, sources, "source_vector"),
    )
    store.database.close()
    rho = spearman(planter.values(away[:25], away[25:]), predicted.astype(float))
    assert planter.evaluate().card.spearman.mean == pytest.approx(rho.mean(), abs=1e-3)


def test_pairs_with_a_taught_sample_are_shown_by_themselves(planter, write_rows):
    rows = write_rows(planter.folder / "mixed.jsonl", [*AWAY, *HOME[:10]])
    planter.run("ingest", str(rows), "--dataset", "mixed")
    planter.run("embed", "mixed", "--embedder", "hashing:32")
    home, away = planter.ids("home"), planter.ids("away")
    planter.label(away[:25], [*away[25:], *home[:10]])
    report = planter.evaluate("mixed")
    assert (report.pairs, report.seen) == (25 * 35, 25 * 10)
    assert report.card.own.pairs == 25 * 35
    assert report.card.figures["seen"][report.card.network].pairs == 25 * 10
    assert "250 pairs have a sample it was taught on" in "\n".join(report.lines())


def test_a_near_duplicate_of_a_taught_sample_is_a_taught_sample(planter, write_rows):
    home, away = planter.ids("home"), planter.ids("away")
    path = write_rows(planter.folder / "near.jsonl", HOME[:5])
    copies = [json.loads(line) for line in path.read_text().splitlines()]
    for one in copies:
        one["output"] += " "  # another content, and the embedder reads the same words
    path.write_text("".join(json.dumps(one) + "\n" for one in copies))
    planter.run("ingest", str(path), "--dataset", "near")
    planter.run("embed", "near", "--embedder", "hashing:32")
    near = planter.ids("near")
    assert not set(near) & set(home)
    assert (planter.vectors(near) * planter.vectors(home[:5])).sum(axis=1).min() > 0.98
    both = write_rows(planter.folder / "away.jsonl", AWAY)
    planter.run("ingest", str(both), str(path), "--dataset", "both")
    planter.run("embed", "both", "--embedder", "hashing:32")
    planter.label(away[:25], [*away[25:], *near])
    report = planter.evaluate("both")
    assert (report.pairs, report.seen) == (25 * 35, 25 * 5)


def test_other_labels_of_the_method_are_used_and_the_difference_is_said_aloud(planter):
    away = planter.ids("away")
    planter.label(away[:25], away[25:], model_id="bigger")
    report = planter.evaluate()
    assert not report.same_teacher
    assert any("model" in one for one in report.differs)
    assert "not the teacher it imitates" in report.lines()[1]
    planter.label(away[:25], away[25:30])
    planter.label(away[:25], away[25:], model_id="biggest")
    own = planter.evaluate()
    assert own.same_teacher, "the teacher's own labels come before newer ones of another"
    assert own.pairs == 25 * 5


def test_a_method_can_be_named(planter):
    away = planter.ids("away")
    planter.label(away[:25], away[25:])
    planter.label(away[:25], away[25:], -planter.values(away[:25], away[25:]), method="opposite")
    report = planter.evaluate(method="opposite")
    assert report.differs[0] == "method"
    assert report.card.spearman.high < 0
    assert report.card.verdict == "no better than mean"


def test_labels_of_later_days_at_home_count_as_unseen(planter, write_rows):
    """Trained first, labelled then: these pairs taught nothing."""
    more = write_rows(planter.folder / "more.jsonl", range(90, 140))
    before = set(planter.ids("home"))
    planter.run("ingest", str(more), "--dataset", "home")
    fresh = [one for one in planter.ids("home") if one not in before]
    planter.label(fresh[:20], fresh[20:])
    report = planter.evaluate("home")
    assert (report.pairs, report.seen) == (20 * 30, 40 * 50)


def test_a_measurement_is_a_run_and_is_found_again(planter):
    away = planter.ids("away")
    planter.label(away[:25], away[25:])
    report = planter.evaluate()
    told = json.loads(json.dumps(report.facts()))
    (logged,) = [one for one in planter.run.json("log")["runs"] if one["verb"] == "evaluate"]
    assert logged["result"] == told
    store = Store.open(planter.run.root, __version__)
    trained = find_estimator(store, "known")
    assert known_transfer(store, trained, "away") == told
    assert known_transfer(store, trained, "home") is None
    store.database.close()


def test_no_labels_there_names_the_command_or_the_import(planter):
    with pytest.raises(NotFound, match=r"(?s)no labels of planted between away@1 and away@1.*"
                       "import more scores of planted"):  # fmt: skip
        planter.evaluate()
    with pytest.raises(NotFound, match=r"(?s)no labels of delift .*influence-store label away@1 "
                       "--targets away@1 --method delift"):  # fmt: skip
        planter.evaluate(method="delift")


def test_too_few_fresh_labels_are_refused(planter):
    away = planter.ids("away")
    planter.label(away[:7], away[25:])
    with pytest.raises(InputError, match="7 targets have 3 sources to be ranked by, expected 8"):
        planter.evaluate()


def test_an_output_that_is_not_there_is_refused(planter):
    away = planter.ids("away")
    planter.label(away[:25], away[25:])
    with pytest.raises(UsageError, match="has no output 'x'"):
        planter.evaluate(output="x")


def test_samples_without_the_embedding_it_reads_are_named(planter, write_rows):
    rows = write_rows(planter.folder / "bare.jsonl", range(300, 340))
    planter.run("ingest", str(rows), "--dataset", "bare")
    bare = planter.ids("bare")
    planter.label(bare[:20], bare[20:], np.ones((20, 20)))
    with pytest.raises(Incompatible, match=r"reads hashing-32 .*which 40 of 40 labelled samples"):
        planter.evaluate("bare")
