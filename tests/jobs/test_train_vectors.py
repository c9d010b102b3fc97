"""The lesson of a bilinear teacher: its products as pairs, its vectors as one more student."""

from __future__ import annotations

import numpy as np
import pytest

from influence_store.errors import NotFound
from influence_store.jobs import train_vectors
from influence_store.jobs.features import FREE, gather
from influence_store.jobs.train_vectors import vector_lesson
from influence_store.network.labels import usable
from influence_store.network.train import train
from influence_store.store.store import Store
from influence_store.version import __version__

SMALL = ["--set", "n_checkpoints=1", "--set", "epochs=1", "--set", "dim=32", "--set", "rank=2"]


@pytest.fixture(scope="module")
def store(tmp_path_factory, open_cli, write_rows, tiny_llm):
    """56 rows with RDS vectors on both sides at once, and LESS vectors of 20 rows for 10 others."""
    base = tmp_path_factory.mktemp("vectors")
    cli = open_cli(base / "store")
    cli("init")
    for name, rows in (("pool", range(56)), ("part", range(20)), ("exam", range(100, 110))):
        cli("ingest", str(write_rows(base / f"{name}.jsonl", rows)), "--dataset", name)
        cli("embed", name, "--embedder", "hashing:32")
    model = ["--model", str(tiny_llm), "--rows", "all"]
    cli("label", "pool", "--method", "rds", *model)
    cli("label", "part", "--method", "less", *model, "--targets", "exam", *SMALL)
    made = Store.open(cli.root, __version__)
    yield made
    made.database.close()


def lesson_of(store, **options):
    pool = store.version("pool")
    return vector_lesson(store, pool, pool, "rds", **options)


def test_every_label_is_the_product_of_the_stored_vectors(store):
    lesson = lesson_of(store)
    kept = store.vectors(lesson.method, lesson.sids).astype(float)
    expected = (kept[lesson.targets] * kept[lesson.sources]).sum(axis=1)
    np.testing.assert_allclose(lesson.values, expected, atol=1e-6)
    assert len(lesson.values) == 28 * 28
    assert lesson.sids.tolist() == store.version("pool").sids.tolist()


def test_no_sample_has_both_roles_where_both_sides_are_one_vector(store):
    lesson = lesson_of(store, seed=3)
    assert not set(lesson.targets.tolist()) & set(lesson.sources.tolist())
    assert len(np.unique(lesson.targets)) == len(np.unique(lesson.sources)) == 28
    assert lesson.targets.tolist() == lesson_of(store, seed=3).targets.tolist()
    assert lesson.targets.tolist() != lesson_of(store, seed=4).targets.tolist()


def test_samples_beyond_the_block_still_teach_the_vectors(store, monkeypatch):
    monkeypatch.setattr(train_vectors, "PAIR_SAMPLES", 10)
    lesson = lesson_of(store)
    vectors = lesson.fit.keywords["vectors"]
    assert len(lesson.values) == 100
    used = np.union1d(lesson.targets, lesson.sources)
    assert vectors.extra.tolist() == np.setdiff1d(np.arange(56), used).tolist()


def test_two_sides_keep_their_own_vectors_and_roles(store):
    part, exam = store.version("part"), store.version("exam")
    lesson = vector_lesson(store, part, exam, "less")
    sides = {one.facts["side"]: one for one in store.producers("vectors") if one.name == "less"}
    targets = store.vectors(sides["target"], exam.sids).astype(float)
    sources = store.vectors(sides["source"], part.sids).astype(float)
    row = np.searchsorted(exam.sids, lesson.sids[lesson.targets])
    column = np.searchsorted(part.sids, lesson.sids[lesson.sources])
    np.testing.assert_allclose(lesson.values, (targets @ sources.T)[row, column], atol=1e-6)
    assert len(lesson.values) == 200
    vectors = lesson.fit.keywords["vectors"]
    assert np.isnan(vectors.targets).all(axis=1).sum() == 20
    assert np.isnan(vectors.sources).all(axis=1).sum() == 10
    assert not vectors.symmetric


def test_the_student_of_vectors_stands_among_the_networks_of_pairs(store):
    lesson = lesson_of(store)
    features, _ = gather(store, lesson.sids, FREE, lesson.embedder, lesson.state)
    pairs = usable(lesson.targets, lesson.sources, lesson.values, features.block("embedding"))
    more = {"vector-ridge": lesson.fit}
    trained = train(pairs, features, networks=["ridge-and-cosine"], more=more, seed=0)
    baselines = {"mean", "cosine", "additive-ridge"}
    assert set(trained.cards) == {*baselines, "ridge-and-cosine", "vector-ridge"}
    own = lesson.fit(pairs, features, seed=0)
    assert own.predict(features.values[:3], features.values[:5]).shape == (3, 5)


def test_what_is_not_stored_is_refused_with_the_command(store):
    pool, exam, part = (store.version(name) for name in ("pool", "exam", "part"))
    with pytest.raises(
        NotFound, match=r"(?s)no label set named 'trak'.*label pool@1 --method trak"
    ):
        vector_lesson(store, pool, pool, "trak")
    with pytest.raises(NotFound, match="no row of part@1 has a target vector of less"):
        vector_lesson(store, part, part, "less")
    with pytest.raises(NotFound, match="no row of exam@1 has a source vector of rds"):
        vector_lesson(store, exam, exam, "rds")
