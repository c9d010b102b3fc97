"""The stored neighbour index: computed once, grown as rows arrive, the same for ever."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pyroaring import BitMap
from sqlmodel import select

from influence_store.errors import Incompatible
from influence_store.jobs import neighbours as job
from influence_store.jobs.neighbours import KIND, neighbours
from influence_store.schema import tables
from influence_store.schema.catalog import Artifact, Run
from influence_store.selection.neighbours.cells import train_cells
from influence_store.selection.neighbours.index import build_neighbours
from influence_store.selection.neighbours.search import search
from influence_store.store.versions import Version

N, DIM, K = 360, 24, 10
#: Rows do not start at 0, nor do they lie side by side.
SIDS = 1000 + 3 * np.arange(N)


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(12, DIM))
    values = centres[rng.integers(12, size=N)] + 0.6 * rng.normal(size=(N, DIM))
    values[200:215] = values[3]  # twins of a row of the first version: more than K of them
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def embedder(store, vectors):
    """Vectors of all rows, stored."""
    producer = store.producer("embedding", "made-up", {}, dim=DIM)
    embed(store, producer, np.arange(N), vectors)
    return producer


def embed(store, producer, rows, vectors):
    batch = pa.record_batch(
        [
            pa.array(SIDS[rows]),
            pa.FixedSizeListArray.from_arrays(pa.array(vectors[rows].ravel()), DIM),
            pa.array(np.zeros(len(rows), np.bool_)),
        ],
        schema=tables.embedding(DIM),
    )
    with store.claim("embed", "test", {}) as run:
        bits = BitMap(SIDS[rows].astype(np.uint32))
        staged = run.stage("embedding", [batch], batch.schema, bits, producer_id=producer.id)
        run.publish([staged])


def version(rows, number=1, dataset="demo"):
    return Version(number, 1, dataset, number, BitMap(SIDS[rows].astype(np.uint32)))


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("index", "similarity", "reach", "typical")
    )


def indexed(store):
    """Which rows each block speaks for, by producer."""
    blocks = store.blocks(KIND)
    return [(block.producer_id, (np.array(block.bits.to_array()) - 1000) // 3) for block in blocks]


def runs(store):
    with store.database.read() as session:
        return len(session.exec(select(Run.id)).all())


@pytest.fixture
def several_cells(monkeypatch):
    """Cells and blocks of a size that these few rows fill several of."""
    monkeypatch.setattr(job, "default_cells", lambda _n: 9)
    monkeypatch.setattr(job, "PROBES", 3)
    monkeypatch.setattr(job, "CHUNK_ROWS", 100)


def by_one_search(vectors, trained_on):
    cells = train_cells(vectors[trained_on], 9, 3, seed=0)
    return search(vectors, cells.of(vectors), cells, np.arange(len(vectors)), K).lists


def test_the_stored_index_is_that_of_the_vectors(store, embedder, vectors):
    rows = np.arange(0, N, 2)
    found = neighbours(store, embedder, version(rows), k=K)
    assert same(found, build_neighbours(vectors[rows], k=K))
    assert found.facts["of"] == embedder.fingerprint


def test_asked_again_nothing_is_computed_or_written(store, embedder, monkeypatch):
    first = neighbours(store, embedder, version(np.arange(N)), k=K)
    before = runs(store)
    monkeypatch.setattr(job, "search", None)
    again = neighbours(store, embedder, version(np.arange(N)), k=K)
    assert same(first, again)
    assert runs(store) == before


def test_only_new_rows_are_searched_for_and_all_lists_are_those_of_one_search(
    store, embedder, vectors, monkeypatch
):
    searched = []

    def watched(*given, **named):
        searched.append(len(given[3]))
        return search(*given, **named)

    monkeypatch.setattr(job, "search", watched)
    late = np.concatenate([np.arange(5, N, 9), np.arange(300, N)])  # among the old and after them
    early = np.setdiff1d(np.arange(N), late)
    neighbours(store, embedder, version(early), k=K)
    whole = neighbours(store, embedder, version(np.arange(N), 2), k=K)
    assert searched == [len(early), len(np.unique(late))]
    scratch = build_neighbours(vectors, k=K)
    assert np.array_equal(whole.index, scratch.index)
    assert np.array_equal(whole.similarity, scratch.similarity)
    assert np.array_equal(whole.reach, scratch.reach)


def test_a_version_keeps_its_lists_when_rows_are_added(store, embedder):
    early = version(np.arange(250))
    before = neighbours(store, embedder, early, k=K)
    neighbours(store, embedder, version(np.arange(N), 2), k=K)
    assert same(neighbours(store, embedder, early, k=K), before)


def test_blocks_of_cells_give_the_lists_of_one_search(store, embedder, vectors, several_cells):
    found = neighbours(store, embedder, version(np.arange(N)), k=K)
    blocks = indexed(store)
    assert len(blocks) > 2
    assert np.array_equal(np.sort(np.concatenate([rows for _, rows in blocks])), np.arange(N))
    lists = by_one_search(vectors, np.arange(N))
    assert np.array_equal(found.index, lists.sources)
    assert np.array_equal(found.similarity, lists.values)


def test_rows_added_to_cells_get_the_lists_of_one_search(store, embedder, vectors, several_cells):
    for number, rows in enumerate((200, 205, 330, N), start=1):
        found = neighbours(store, embedder, version(np.arange(rows), number), k=K)
    assert len({producer for producer, _ in indexed(store)}) == 1
    lists = by_one_search(vectors, np.arange(200))
    assert np.array_equal(found.index, lists.sources)
    assert np.array_equal(found.similarity, lists.values)


def test_an_interrupted_index_goes_on_where_it_was(
    store, embedder, vectors, several_cells, monkeypatch
):
    done = []

    def interrupted(*given, **named):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(given[3])
        return search(*given, **named)

    monkeypatch.setattr(job, "search", interrupted)
    with pytest.raises(KeyboardInterrupt):
        neighbours(store, embedder, version(np.arange(N)), k=K)
    left = indexed(store)
    assert [rows.tolist() for _, rows in left] == [rows.tolist() for rows in done]
    monkeypatch.setattr(job, "search", search)
    found = neighbours(store, embedder, version(np.arange(N)), k=K)
    assert [rows.tolist() for _, rows in indexed(store)[:2]] == [rows.tolist() for _, rows in left]
    lists = by_one_search(vectors, np.arange(N))
    assert np.array_equal(found.index, lists.sources)
    assert np.array_equal(found.similarity, lists.values)


def test_an_interruption_before_the_first_block_leaves_the_cells_vouched_for(
    store, embedder, monkeypatch
):
    def interrupted(*_given, **_named):
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "search", interrupted)
    with pytest.raises(KeyboardInterrupt):
        neighbours(store, embedder, version(np.arange(N)), k=K)
    monkeypatch.undo()
    found = neighbours(store, embedder, version(np.arange(N)), k=K)
    with store.database.read() as session:
        vouched = session.exec(select(Artifact.sha256)).all()
    assert found.facts["centroids"] in vouched


def test_rows_that_left_the_dataset_leave_gaps_and_the_reach_as_it_was(store, embedder):
    whole = neighbours(store, embedder, version(np.arange(N)), k=K)
    kept = np.setdiff1d(np.arange(N), np.arange(7, N, 11))
    found = neighbours(store, embedder, version(kept, 2), k=K)
    assert len(indexed(store)) == 1
    place = np.full(N, -1)
    place[kept] = np.arange(len(kept))
    assert np.array_equal(found.index, place[whole.index[kept]])
    assert (found.index == -1).any()
    assert np.array_equal(np.isneginf(found.similarity), found.index == -1)
    assert np.array_equal(found.reach, whole.reach[kept])


@pytest.mark.parametrize(
    "rows", [np.arange(N), np.arange(60, 170)], ids=["three times as many", "mostly others"]
)
def test_cells_that_no_longer_fit_are_made_anew(store, embedder, vectors, rows):
    first = version(np.arange(110))
    before = neighbours(store, embedder, first, k=K)
    found = neighbours(store, embedder, version(rows, 2), k=K)
    assert same(found, build_neighbours(vectors[rows], k=K))
    assert len({producer for producer, _ in indexed(store)}) == 2
    assert same(neighbours(store, embedder, first, k=K), before)
    assert len(indexed(store)) == 2


def test_datasets_and_widths_have_their_own_index(store, embedder, vectors):
    mine, yours = np.arange(150), np.arange(100, 300)
    one = neighbours(store, embedder, version(mine), k=K)
    other = neighbours(store, embedder, version(yours, dataset="other"), k=K)
    wide = neighbours(store, embedder, version(mine), k=2 * K)
    assert same(one, build_neighbours(vectors[mine], k=K))
    assert same(other, build_neighbours(vectors[yours], k=K))
    assert same(wide, build_neighbours(vectors[mine], k=2 * K))


def test_a_few_rows_are_listed_whole_and_their_lists_grow(store, embedder, vectors):
    few = neighbours(store, embedder, version(np.arange(6)), k=K)
    assert (few.index[:, 6:] == -1).all()
    more = neighbours(store, embedder, version(np.arange(9), 2), k=K)
    scratch = build_neighbours(vectors[:9], k=K)
    assert np.array_equal(more.index, scratch.index)
    assert np.array_equal(more.reach, scratch.reach)


def test_rows_without_a_vector_are_refused_with_the_command_that_makes_them(store, vectors):
    producer = store.producer("embedding", "made-up", {}, dim=DIM)
    embed(store, producer, np.arange(100), vectors)
    with pytest.raises(Incompatible, match="20 rows of demo@1 have no vector") as refused:
        neighbours(store, producer, version(np.arange(120)), k=K)
    assert "embed demo@1" in refused.value.hint
