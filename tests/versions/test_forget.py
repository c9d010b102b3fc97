"""A forgotten sample is in no version, no block and, after gc, in no byte of the store."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from many_versions import History
from pyroaring import BitMap
from raw_path import raw_path, sizes
from sqlalchemy.event import listen
from sqlmodel import select

from influence_store.errors import Busy, Fenced, NotFound, UsageError
from influence_store.jobs import forget as module
from influence_store.jobs.choose import Asked, choose
from influence_store.jobs.delete import delete, undo
from influence_store.jobs.forget import forget
from influence_store.jobs.gc import gc
from influence_store.jobs.invariants import broken_invariants
from influence_store.jobs.leaks import leaks
from influence_store.jobs.near_duplicates import duplicates
from influence_store.jobs.neighbours import neighbours
from influence_store.jobs.stored_selection import stored_selection
from influence_store.jobs.token_counts import token_counts
from influence_store.query import query
from influence_store.schema import tables
from influence_store.schema.catalog import Block, DatasetVersion, Forgotten, Run
from influence_store.store.grid import open_block
from influence_store.store.store import Store
from influence_store.version import __version__


def files_with(store, word):
    """Every file of the store that holds the word, in whatever encoding it is likely to."""
    found = []
    root = raw_path(store.uri)
    for path in sizes(root):
        content = (root / path).read_bytes()
        if word.encode() in content or word.encode("utf-16-le") in content:
            found.append(path)
    return found


def sid_of(store, sample):
    ids = store.sample_ids()
    return dict(zip((one.hex() for one in ids["sample_id"]), ids["sid"], strict=True))[sample]


def mentions(store, sid):
    """Kinds of live blocks that speak for the sid or name it as twin, target, source or pick."""
    found = set()
    with store.database.read() as session:
        live = select(Block.kind).where(Block.retired_at.is_(None))
        kinds = set(session.exec(live).all())
    for block in [block for kind in kinds for block in store.blocks(kind)]:
        table = _table(store, block)
        names = {"sid", "twin", "target", "source", "best", "second"} & {*table.schema.names}
        named = [sid in batch[name].to_pylist() for batch in table.scan([*names]) for name in names]
        if sid in block.bits or any(named):
            found.add(block.kind)
    return found


def _table(store, block):
    return open_block(store.storage, block)


def label_pairs(store, producer, rows):
    schema = tables.pairs(("value",))
    source, target, value = (list(one) for one in zip(*rows, strict=True))
    columns = [pa.array(source), pa.array(target), pa.array(value, pa.float32())]
    batch = pa.record_batch(columns, schema=schema)
    with store.claim("label", "label", {}) as run:
        block = run.stage("pairs", [batch], schema, BitMap(source), producer_id=producer.id)
        run.publish([block])


@pytest.fixture(scope="module")
def full_store(three_versions, copy_store, tmp_path_factory):
    """All kinds of blocks that need no model, on 14 rows; what is said of sample 4 is the point."""
    folder = tmp_path_factory.mktemp("full")
    (folder / "inputs").mkdir()
    uri = copy_store(three_versions, folder / "store")
    store = Store.open(uri, __version__)
    _fill(History(store, folder / "inputs"), folder)
    store.database.close()
    return uri


@pytest.fixture
def full(full_store, opened_copy):
    """A copy of it, opened."""
    return opened_copy(full_store)


def _fill(three, tmp_path):
    store = three.store
    version = store.version("demo")
    three.add([4, 30, 31], "exam")
    duplicates(store, version)
    leaks(store, version, store.version("exam"))
    neighbours(store, store.producers("embedding")[0], version, k=4)
    words = tmp_path / "tokenizer.json"
    _write_tokenizer(words)
    token_counts(store, version, str(words))
    choose(store, "demo", Asked(budget="13", objective="facility-location", kernel="cosine"), {})
    producer = store.producer("pairs", "delift", {"outputs": ["value"]})
    label_pairs(store, producer, [(1, 4, 0.5), (2, 3, 0.5)])
    label_pairs(store, producer, [(2, 3, 0.9), (4, 1, 0.1), (5, 6, 0.2)])


def _write_tokenizer(path):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    made = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    made.save(str(path))


def test_a_forgotten_sample_leaves_every_version_block_and_byte(full):
    store = full.store
    (sample,) = full.sample_ids(4)
    sid = sid_of(store, sample)
    assert {"samples", "rows", "embedding", "tokens", "pairs", "neighbours", "leaks"} <= mentions(
        store, sid
    )
    kept = {
        row["sample_id"]: row
        for row in query(store, "select * from demo").to_pylist()
        if row["sample_id"] != sample
    }
    pairs = store.pairs(store.producers("pairs")[0])
    report = forget(store, [sample[:12]], "asked by its author")

    assert report.samples == (sample,)
    assert report.versions == ("demo@1", "demo@2", "demo@3", "exam@1")
    assert report.rows["samples"] == 1
    assert report.rows["rows"] == 2
    assert report.rows["pairs"] == 3  # two that name it, one that was said before
    assert mentions(store, sid) == set()
    assert {r["sample_id"]: r for r in query(store, "select * from demo").to_pylist()} == kept
    left = pairs.filter((pairs["source"] != sid) & (pairs["target"] != sid))
    assert store.pairs(store.producers("pairs")[0]).equals(left)
    with store.database.read() as session:
        assert list(broken_invariants(session)) == []
        row = session.exec(select(Forgotten)).one()
    assert (row.sample_id.hex(), row.reason) == (sample, "asked by its author")

    assert files_with(store, "quux00004x")  # until gc
    gc(store, grace=0.0, act=True)
    for word in ("quux00004x", "answer00004x0"):
        assert files_with(store, word) == []
    assert files_with(store, "quux00005x")


def test_the_only_text_in_the_catalog_goes_with_it(full):
    """`leaks` tells the commonest words of its target, which may be those of one sample."""
    store, told = full.store, "explain the word quux00004x to a child " * 200
    if store.database.engine.dialect.name == "sqlite":  # some builds overwrite by themselves
        listen(store.database.engine, "connect", lambda c, _: c.execute("PRAGMA secure_delete=0"))
        store.database.engine.dispose()

    def tell(session):
        run = session.exec(select(Run).where(Run.verb == "leaks")).one()
        run.result = {**run.result, "template": {"runs": 9, "rows": 9, "commonest": told}}

    store.database.write(tell)
    forget(store, full.sample_ids(4), "why")
    gc(store, grace=0.0, act=True)
    assert files_with(store, "quux00004x") == []
    with store.database.read() as session:
        assert "quux00004x" not in str(session.exec(select(Run.result)).all())


def test_what_was_dropped_is_made_again_when_asked_for(full):
    store = full.store
    forget(store, full.sample_ids(4), "why")
    version = store.version("demo")
    index = neighbours(store, store.producers("embedding")[0], version, k=4)
    assert index.index.shape[0] == 13
    assert leaks(store, version, store.version("exam")).matches.height == 0
    assert duplicates(store, version).rows == 13


def test_a_selection_loses_it_keeps_its_ranks_and_says_so(full):
    store = full.store
    (made,) = query(store, "select id from selections").column("id").to_pylist()
    items = query(store, "select rank, sample_id from selection_items").to_pylist()
    gone = items[3]["sample_id"]
    report = forget(store, [gone], "why")
    assert report.selections == (made,)
    left = query(store, "select rank, sample_id from selection_items order by rank").to_pylist()
    assert left == [row for row in items if row["sample_id"] != gone]
    stored = stored_selection(store, made)
    assert (stored.row.n_items, stored.row.facts["forgotten"]) == (12, 1)


def test_a_selection_of_nothing_else_goes(three):
    store = three.store
    made = choose(store, "demo", Asked(budget="1", objective="random"), {})
    (only,) = query(store, "select sample_id from selection_items").column(0).to_pylist()
    assert forget(store, [only], "why").selections == (made.id,)
    assert query(store, "select * from selections").num_rows == 0


def test_it_is_left_out_and_counted_when_a_file_brings_it_again(three):
    store = three.store
    forget(store, three.sample_ids(4, 7), "why")
    again = three.add(range(14))
    assert (again.changed, again.forgotten, again.version) == (False, 2, 3)
    assert "2 rows were left out: forgotten on purpose" in again.lines()[1]
    more = three.add(range(20))
    assert (more.forgotten, more.new, more.rows, more.new_contents) == (2, 6, 18, 6)
    assert three.add([4, 40], "another").rows == 1


def test_forgetting_twice_changes_nothing(three):
    samples = three.sample_ids(4)
    forget(three.store, samples, "why")
    again = forget(three.store, samples, "why")
    assert (again.samples, again.already) == ((), tuple(samples))


def test_versions_get_new_digests_also_deleted_ones(three):
    store = three.store
    delete(store, "demo@1")
    forget(store, three.sample_ids(4), "why")
    with store.database.read() as session:
        rows = session.exec(select(DatasetVersion)).all()
        assert list(broken_invariants(session)) == []
    assert [(row.n_rows, row.counts["forgotten_since"]) for row in rows] == [
        (9, 1),
        (11, 1),
        (13, 1),
    ]
    undo(store, "demo@1")
    assert len(store.version("demo@1").bits) == 9


def test_a_deleted_selection_that_chose_it_does_not_come_back(three):
    store = three.store
    made = choose(store, "demo", Asked(budget="13", objective="random"), {})
    chosen = query(store, "select sample_id from selection_items").column(0).to_pylist()
    delete(store, made.id)
    forget(store, chosen[:2], "why")
    with pytest.raises(NotFound, match="2 of its samples are gone"):
        undo(store, made.id)


def test_nobody_may_be_at_work(three):
    sample = three.sample_ids(4)
    with three.store.claim("embed", "embed:x:demo", {}), pytest.raises(Busy, match="embed is at"):
        forget(three.store, sample, "why")
    assert forget(three.store, sample, "why").samples


def test_a_run_that_only_slept_cannot_bring_it_back(three, monkeypatch):
    store = three.store
    asleep = store.claim("embed", "embed:x:demo", {})

    def expire(session):
        session.get_one(Run, asleep.id).lease_until = 0.0

    store.database.write(expire)
    forget(store, three.sample_ids(4), "why")
    with pytest.raises(Fenced):
        asleep.publish([])


def test_a_block_that_appears_while_others_are_rewritten_is_rewritten_too(three, monkeypatch):
    store, original, asked = three.store, module.without, [1]
    (sample,) = three.sample_ids(4)
    sid = sid_of(store, sample)
    producer = store.producer("pairs", "delift", {"outputs": ["value"]})

    def late(*args):
        found = original(*args)
        if asked:
            asked.pop()
            label_pairs(store, producer, [(sid, 1, 0.5), (2, 1, 0.5)])
        return found

    monkeypatch.setattr(module, "without", late)
    assert forget(store, [sample], "why").rows["pairs"] == 1
    assert mentions(store, sid) == set()


def test_a_row_that_its_block_does_not_speak_for_goes_too(three):
    store = three.store
    (sample,) = three.sample_ids(4)
    sid = sid_of(store, sample)
    schema = tables.points(("score",))
    producer = store.producer("points", "m", {"outputs": ["score"]})

    def block(run, sids):
        ones = pa.array(np.ones(len(sids), np.int64))
        columns = [
            pa.array(sids),
            pa.array(np.ones(len(sids))),
            ones,
            pa.array([False] * len(sids)),
        ]
        batch = pa.record_batch(columns, schema=schema)
        return run.stage("points", [batch], schema, BitMap(sids), producer_id=producer.id)

    with store.claim("label", "a", {}) as one, store.claim("label", "b", {}) as two:
        late = block(two, [sid, sid + 1])
        one.publish([block(one, [sid])])
        two.publish([late])
    forget(store, [sample], "why")
    tables_left = [_table(store, block).count() for block in store.blocks("points")]
    assert tables_left == [1]


def test_rows_that_nearly_repeat_it_are_named(three):
    store = three.store
    a, b = three.sample_ids(4, 5)
    twin, sid = sorted((sid_of(store, a), sid_of(store, b)))
    columns = [pa.array([sid]), pa.array([twin]), pa.array([0.9])]
    batch = pa.record_batch(columns, schema=tables.DUPLICATES)
    producer = store.producer("duplicates", "words", {})
    with store.claim("duplicates", "d", {}) as run:
        bits = BitMap([sid, twin])
        block = run.stage("duplicates", [batch], batch.schema, bits, producer_id=producer.id)
        run.publish([block])
    assert forget(store, [a], "why").alike == (b,)


def test_a_reason_is_needed(three):
    with pytest.raises(UsageError, match="say why"):
        forget(three.store, three.sample_ids(4), "  ")
