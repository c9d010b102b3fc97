"""A dataset of another store comes with its texts where it was asked for by name."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from sqlmodel import select

from influence_store.errors import IntegrityError, NotFound, UsageError
from influence_store.ingest import spool
from influence_store.schema.catalog import Block, Run
from influence_store.store.store import Store
from influence_store.version import __version__

TEXTS = ["sample_id", "prompt", "response", "system", "tools", "turns"]
ORIGIN = ["file", "line", "raw", "extra"]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory, open_cli, write_rows):
    """A store of somebody else: `chats` of 12 rows, then of 16, of which 2 left; embedded."""
    folder = tmp_path_factory.mktemp("theirs")
    run = open_cli(folder / "store")
    run("init")
    run("ingest", str(write_rows(folder / "a.jsonl", range(12))), "--dataset", "chats")
    left = str(write_rows(folder / "left.jsonl", range(2)))
    more = str(write_rows(folder / "b.jsonl", range(12, 18)))
    run("ingest", more, "--dataset", "chats", "--removed", left, "--tag", "gold")
    run("embed", "chats", "--embedder", "hashing:8")
    return run


@pytest.fixture
def mine(tmp_path, open_cli):
    run = open_cli(tmp_path / "mine")
    run("init")
    return run


@contextmanager
def opened(run):
    store = Store.open(run.root, __version__, run.database)
    yield store
    store.database.close()


def held(run, ref):
    """Every row of a version: id, texts, and where it came from."""
    with opened(run) as store:
        version = store.version(ref)
        blocks = store.blocks("samples"), store.blocks("rows", dataset_id=version.dataset_id)
        rows = {sid: () for sid in version.sids.tolist()}
        for some, columns in zip(blocks, (TEXTS, ORIGIN), strict=True):
            for batch in store.scan(some, ["sid", *columns], version.bits):
                for sid, *values in zip(*batch.to_pydict().values(), strict=True):
                    rows[sid] += tuple(values)
    assert {len(row) for row in rows.values()} == {len(TEXTS) + len(ORIGIN)}
    return sorted(rows.values())


def n_contents(run):
    with opened(run) as store:
        return store.sample_ids().height


def test_a_named_dataset_comes_with_its_texts_and_all_that_is_known_of_them(mine, theirs):
    told = mine.json("pull", str(theirs.root), "--with-texts", "chats")
    assert told["texts"] == {
        "source": "chats@2",
        "dataset": "chats",
        "version": 1,
        "changed": True,
        "rows": 16,
        "new": 16,
        "removed": 0,
        "new_contents": 16,
        "forgotten": 0,
    }
    assert (told["shared"], [one["pulled"] for one in told["columns"]]) == (16, [16])
    assert held(mine, "chats") == held(theirs, "chats")
    embedded = mine.json("embed", "chats", "--embedder", "hashing:8")
    assert (embedded["computed"], embedded["reused"]) == (0, 16)
    assert mine("verify", "--deep")


def test_every_block_remembers_the_store_and_the_run_it_came_from(mine, theirs):
    mine("pull", str(theirs.root), "--with-texts", "chats")
    with opened(mine) as here, here.database.read() as session:
        origins = {block.kind: block.origin for block in session.exec(select(Block)).all()}
    assert set(origins) == {"samples", "rows", "embedding"}
    with opened(theirs) as there, there.database.read() as session:
        runs = {run.id: run.verb for run in session.exec(select(Run)).all()}
        assert {one["store"] for one in origins.values()} == {there.database.store_id()}
    assert runs[origins["embedding"]["run"]] == "embed"
    assert runs[origins["samples"]["run"]] == runs[origins["rows"]["run"]] == "ingest"


def test_the_same_again_changes_nothing(mine, theirs):
    ask = ("pull", str(theirs.root), "--with-texts", "chats@gold")
    mine(*ask)
    before = mine.blocks()
    told = mine.json(*ask)
    assert (told["texts"]["changed"], told["texts"]["version"]) == (False, 1)
    assert mine.blocks() == before
    assert "chats@1 holds all rows of chats@2 already; no new version" in mine(*ask)


def test_a_copy_follows_what_it_is_a_copy_of(mine, theirs):
    first = mine.json("pull", str(theirs.root), "--with-texts", "chats@1")["texts"]
    assert (first["source"], first["version"], first["rows"]) == ("chats@1", 1, 12)
    then = mine.json("pull", str(theirs.root), "--with-texts", "chats")["texts"]
    assert (then["version"], then["rows"], then["new"], then["removed"]) == (2, 16, 6, 2)
    assert then["new_contents"] == 6
    assert held(mine, "chats@2") == held(theirs, "chats@2")
    assert held(mine, "chats@1") == held(theirs, "chats@1")


def test_a_content_that_is_here_already_is_not_stored_twice(mine, theirs, tmp_path, write_rows):
    mine("ingest", str(write_rows(tmp_path / "own.jsonl", range(10, 15))), "--dataset", "own")
    told = mine.json("pull", str(theirs.root), "--with-texts", "chats")["texts"]
    assert (told["rows"], told["new_contents"]) == (16, 11)
    assert n_contents(mine) == 16


def test_what_was_forgotten_here_stays_out(mine, theirs, tmp_path, write_rows):
    mine("ingest", str(write_rows(tmp_path / "own.jsonl", range(10, 15))), "--dataset", "own")
    gone = held(mine, "own")[0]
    mine("forget", gone[0].hex(), "--reason", "asked", "--yes")
    told = mine.json("pull", str(theirs.root), "--with-texts", "chats")
    assert (told["texts"]["rows"], told["texts"]["forgotten"], told["shared"]) == (15, 1, 15)
    assert {row[0] for row in held(theirs, "chats")} - {row[0] for row in held(mine, "chats")} == {
        gone[0]
    }
    again = mine("pull", str(theirs.root), "--with-texts", "chats")
    assert "no new version\n  1 row was left out: forgotten on purpose" in again


def test_a_dataset_that_is_no_copy_is_not_replaced(mine, theirs, tmp_path, write_rows):
    own = str(write_rows(tmp_path / "own.jsonl", range(50, 55)))
    mine("ingest", own, "--dataset", "chats")
    ask = ("pull", str(theirs.root), "--with-texts", "chats")
    with pytest.raises(UsageError, match=r"chats@1 here is not a copy(?s:.*)--as NAME"):
        mine(*ask)
    told = mine.json(*ask, "--as", "theirs")["texts"]
    assert (told["dataset"], told["version"], told["rows"]) == ("theirs", 1, 16)
    # Nor is a copy that somebody added rows to.
    mine("ingest", own, "--dataset", "theirs")
    with pytest.raises(UsageError, match="theirs@2 here is not a copy"):
        mine(*ask, "--as", "theirs")
    assert len(held(mine, "theirs")) == 21


def test_what_cannot_be_copied_is_refused(mine, theirs):
    with pytest.raises(NotFound, match="did you mean chats"):
        mine("pull", str(theirs.root), "--with-texts", "chat")
    with pytest.raises(UsageError, match="add --with-texts"):
        mine("pull", str(theirs.root), "--as", "copy")
    with pytest.raises(UsageError, match="cannot name a dataset"):
        mine("pull", str(theirs.root), "--with-texts", "chats", "--as", "../x")


@pytest.mark.parametrize(
    ("turns", "told"),
    [
        ('[["user", "another question"], ["assistant", "4"]]', "not what its id says"),
        ('[["root", "2 + 2"], ["assistant", "4"]]', "not what its id says"),
        ('[["user", "2 + 2"]]', "is no sample: a sample ends with"),
    ],
)
def test_a_store_that_vouches_for_nonsense_is_not_believed(
    mine, tmp_path, open_cli, monkeypatch, turns, told
):
    liar = open_cli(tmp_path / "liar")
    liar("init")
    path = tmp_path / "one.jsonl"
    path.write_text('{"instruction": "2 + 2", "output": "4"}\n')
    place = list(spool._SCHEMA.names).index("turns")
    honest = spool._values

    def lying(*arguments):
        values = list(honest(*arguments))
        values[place] = turns
        return tuple(values)

    with monkeypatch.context() as patch:
        patch.setattr(spool, "_values", lying)
        liar("ingest", str(path), "--dataset", "chats")
    with pytest.raises(IntegrityError, match=told):
        mine("pull", str(liar.root), "--with-texts", "chats")
    assert n_contents(mine) == 0


@pytest.mark.parametrize("kind", ["samples", "rows"])
def test_damaged_texts_are_not_taken(mine, theirs, tmp_path, open_cli, copy_store, kind):
    copy = open_cli(copy_store(theirs.root, tmp_path / "copy"))
    with opened(copy) as store:
        files = store.storage.files(f"blocks/{kind}")
        victim = next(file.path for file in files if "/data/" in file.path)
        content = bytearray(store.storage.read(victim))
        content[len(content) // 3] ^= 1
        store.storage.put(victim, bytes(content))
    with pytest.raises(IntegrityError, match=rf"{kind}/.*is not what its catalog vouches for"):
        mine("pull", str(copy.root), "--with-texts", "chats")
    assert n_contents(mine) == 0


def test_a_row_that_lost_its_origin_there_is_told(mine, theirs, tmp_path, open_cli, copy_store):
    copy = open_cli(copy_store(theirs.root, tmp_path / "copy"))
    with opened(copy) as store, store.claim("compact", "compact", {}) as run:
        run.publish([], retire=[store.blocks("rows")[0].id])
    with pytest.raises(IntegrityError, match="a row of chats@2 is lost"):
        mine("pull", str(copy.root), "--with-texts", "chats")


def test_what_is_damaged_here_is_pulled_again(mine, theirs):
    mine("pull", str(theirs.root), "--with-texts", "chats", "--as", "copy")
    before = held(mine, "copy")
    with opened(mine) as store:
        for file in store.storage.files("blocks/rows"):
            store.storage.delete([file.path])
    again = f"influence-store pull {theirs.root} --with-texts chats@2 --as copy"
    told = mine.json("repair", "--quarantine")
    (loss,) = told["losses"]
    assert (loss["what"], loss["again"][-1]) == ("rows", again)
    mine(*again.split()[1:])
    assert held(mine, "copy") == before
