"""What goes wrong below a tool, and is blamed on it all the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from raw_path import raw_path, sizes
from sqlmodel import func, select

from influence_store.jobs.ingest import ingest
from influence_store.schema.catalog import Block
from influence_store.store.store import Store
from influence_store.version import __version__


def test_writers_at_once_leave_no_row_twice_and_none_out(mine, alpaca):
    """Of six datasets that share half of their rows, ingested at the same time."""
    shared = alpaca(60)
    files = [mine.lines(f"{k}.jsonl", [*shared, *alpaca(10, f"own{k}")]) for k in range(6)]

    def add(k: int) -> int:
        store = Store.open(mine.uri, __version__)
        try:
            return ingest(store, [str(files[k])], f"set{k}").rows
        finally:
            store.database.close()

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(add, range(6))) == [70] * 6
    (found,) = mine.rows("select count(*) n, count(distinct sample_id) d from samples")
    assert found == {"n": 60 + 6 * 10, "d": 60 + 6 * 10}
    assert mine("verify", "--deep").code == 0


def test_many_small_versions_do_not_fill_the_disk(mine, alpaca):
    def live() -> int:
        """But for the ballast, which is kept to be given up when the disk is full."""
        held = sizes(raw_path(mine.uri)).items()
        return sum(size for path, size in held if "blocks/" in path)

    mine.done("ingest", mine.lines("0.jsonl", alpaca(200)), "--dataset", "pool")
    mine.done("embed", "pool", "--embedder", "hashing:16")
    for k in range(12):
        mine.done("ingest", mine.lines("n.jsonl", alpaca(2, f"n{k}")), "--dataset", "pool")
    grown = live()
    mine.done("compact")
    mine.done("gc", "--yes", "--grace", "0s")
    assert live() < grown
    # As if all had come at once: nothing is left of the twelve.
    other = mine.folder / "other"
    every = [*alpaca(200), *(row for k in range(12) for row in alpaca(2, f"n{k}"))]
    for command in (
        ("init",),
        ("ingest", mine.lines("all.jsonl", every), "--dataset", "pool"),
        ("embed", "pool", "--embedder", "hashing:16"),
    ):
        mine.done("--store", other, *command)
    blocks = {
        path: size for path, size in sizes(raw_path(mine.uri)).items() if "blocks/embedding" in path
    }
    at_once = {path: size for path, size in sizes(other).items() if "blocks/embedding" in path}
    assert sum(blocks.values()) < 1.5 * sum(at_once.values())


def test_a_new_column_rewrites_nothing(mine, alpaca):
    mine.done("ingest", mine.lines("pool.jsonl", alpaca(50)), "--dataset", "pool")
    mine.done("embed", "pool", "--embedder", "hashing:16")
    before = {path: one for path, one in sizes(raw_path(mine.uri)).items() if "blocks/" in path}
    mine.done("embed", "pool", "--embedder", "hashing:32")
    after = {path: one for path, one in sizes(raw_path(mine.uri)).items() if "blocks/" in path}
    assert before.items() <= after.items()
    assert len(after) > len(before)


def test_many_writers_wait_for_the_catalog_and_never_fail(mine, alpaca):
    """`database is locked` is waited out: twelve writers, each publishing its own dataset."""
    files = [mine.lines(f"{k}.jsonl", alpaca(3, f"w{k}")) for k in range(12)]

    def add(k: int) -> None:
        store = Store.open(mine.uri, __version__)
        try:
            for round_ in range(3):
                rows = mine.lines(f"{k}-{round_}.jsonl", alpaca(2, f"w{k}r{round_}"))
                ingest(store, [str(files[k]), str(rows)], f"set{k}")
        finally:
            store.database.close()

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(add, range(12)))
    store = Store.open(mine.uri, __version__)
    with store.database.read() as session:
        assert session.exec(select(func.count()).select_from(Block)).one() >= 12 * 3
    store.database.close()
    (found,) = mine.rows("select count(*) n from datasets")
    assert found["n"] == 12 * 3


def test_an_edited_row_is_another_sample_and_computed_anew(mine, alpaca):
    rows = alpaca(20)
    path = mine.lines("pool.jsonl", rows)
    mine.done("ingest", path, "--dataset", "pool")
    mine.done("embed", "pool", "--embedder", "hashing:16")
    old = mine.rows("select sample_id, emb_hashing_16 v from pool where line = 4")[0]
    rows[3]["output"] += " (corrected)"
    mine.lines("pool.jsonl", rows)  # the same name, other bytes
    told = mine.done("ingest", path, "--dataset", "pool", "--snapshot", "--json").json()
    assert told["plan"]["embeddings"] == 1
    new = mine.rows("select sample_id, emb_hashing_16 v from pool where line = 4")[0]
    assert new["sample_id"] != old["sample_id"]
    assert new["v"] != old["v"]


def test_the_embedder_is_never_chosen_in_silence_and_always_recorded(mine, alpaca):
    mine.done("ingest", mine.lines("pool.jsonl", alpaca(9)), "--dataset", "pool")
    said = mine("embed", "pool")
    assert said.code == 2
    assert "--embedder" in said.err
    mine.done("embed", "pool", "--embedder", "hashing:16")
    (made,) = mine.rows("select name, fingerprint, facts from producers where kind = 'embedding'")
    assert made["name"] == "hashing-16"
    assert len(made["fingerprint"]) >= 32
    # Vectors of another embedder are never taken for these: they have a column of their own.
    mine.done("embed", "pool", "--embedder", "hashing:32")
    both = mine.rows("select len(emb_hashing_16) a, len(emb_hashing_32) b from pool limit 1")
    assert both == [{"a": 16, "b": 32}]
