"""How long does a question to a million rows with five influence columns take?

    python benchmarks/query_million.py FOLDER

FOLDER keeps a store that is made through the package's own block writers (texts of about 300
characters, embeddings of 64 numbers, three columns of estimates and two of measured values, four
files of origin, one selection of 10,000 rows) and the same columns in a Parquet file. Every
statement is asked

    cli       in a new process, by the command line: imports, catalog, engine and printing included
    warm      in this process, where all is imported: the best of --repeats
    parquet   in this process, by DuckDB on the Parquet file, sorted as the store is: the same

and must give the same rows both ways. "ratio" is warm over parquet; "read" are the stored columns
that were read whole or in part for it: embeddings are never among them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import polars.testing
import pyarrow as pa
import pyarrow.parquet as pq
from pyroaring import BitMap

from influence_store.query import query
from influence_store.schema import tables
from influence_store.schema.catalog import Dataset, DatasetVersion, Selection
from influence_store.store import grid
from influence_store.store.store import Store
from influence_store.version import __version__

ROWS, PART, DIM, WIDTH, PICKS = 1_000_000, 65_536, 64, 8, 10_000
ESTIMATES, OUTPUTS = ("delift", "less", "ifd"), ("perplexity", "el2n")
BEST = "est_delift > (select quantile_cont(est_delift, 0.9) from demo)"
STATEMENTS = {
    "count": "select count(*) n from demo",
    "best 100": f"select sample_id, est_delift from demo where {BEST} "
    "order by est_delift desc, sample_id limit 100",
    "best 100, unordered ties": f"select sample_id, est_delift from demo where {BEST} "
    "order by est_delift desc limit 100",
    "best 100 with texts": f"select sample_id, prompt, response, est_delift from demo where {BEST} "
    "order by est_delift desc limit 100",
    "by file": "select file, count(*) n, avg(est_delift) a, avg(inf_el2n) b from demo "
    "group by file order by file",
    "five columns": "select corr(est_delift, est_less) a, corr(est_ifd, inf_perplexity) b, "
    "avg(inf_el2n) c from demo",
    "one row": "select prompt, est_delift, inf_el2n from demo where sample_id = '{one}'",
    "word in texts": "select count(*) n from demo where prompt like '%w4242 %'",
    "selected": "select s.rank, s.gain, d.sample_id, d.est_less from selection_items s "
    "join demo d using (sample_id) order by s.rank limit 100",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", help="statements whose name begins so")
    asked = parser.parse_args()
    folder = asked.folder / str(asked.rows)
    store = built(folder, asked.rows)
    parquet = duckdb.connect()
    parquet.execute(f"create view demo as from '{folder}/demo.parquet'")
    parquet.execute(f"create view selection_items as from '{folder}/items.parquet'")
    ((one,),) = parquet.sql("select sample_id from demo limit 1 offset 777").fetchall()
    print(f"{'statement':26}{'cli':>9}{'warm':>9}{'parquet':>9}{'ratio':>7}  read", flush=True)
    for name, statement in STATEMENTS.items():
        if asked.only is None or name.startswith(asked.only):
            report(store, folder, parquet, name, statement.format(one=one), asked.repeats)


def report(store, folder, parquet, name, sql, repeats):
    ours, warm = best_of(repeats, lambda: query(store, sql))
    theirs, there = best_of(repeats, lambda: parquet.sql(sql).to_arrow_table())
    same(ours, theirs)
    command = [sys.executable, "-m", "influence_store.cli", "--store", str(folder / "store")]
    _, cold = best_of(
        repeats,
        lambda: subprocess.run([*command, "query", sql], check=True, capture_output=True),
    )
    read = " ".join(sorted(columns_read(store, sql) - {"sid"}))
    print(f"{name:26}{cold:8.3f}s{warm:8.3f}s{there:8.3f}s{warm / there:7.1f}  {read}", flush=True)


def best_of(repeats, work):
    """What `work` returns, and the fewest seconds it took."""
    least = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        result = work()
        least = min(least, time.perf_counter() - began)
    return result, least


def same(ours, theirs):
    """Both tables hold the same rows; floats may differ in how a sum was ordered."""
    here, there = pl.from_arrow(ours), pl.from_arrow(theirs)
    pl.testing.assert_frame_equal(here, there, check_dtypes=False, rel_tol=1e-5)


def columns_read(store, sql):
    """The stored columns that a statement made the grid read."""
    read, scan = set(), grid.scan

    def watched(root, blocks, columns, sids=None):
        read.update(columns)
        return scan(root, blocks, columns, sids)

    grid.scan = watched
    query(store, sql)
    grid.scan = scan
    return read


def built(folder, rows):
    """The store and its Parquet files, made when they are not there."""
    if (folder / "demo.parquet").exists():
        return Store.open(folder / "store", __version__)
    began = time.perf_counter()
    store, _ = Store.init(folder / "store", __version__)
    parts = [np.arange(k, min(rows, k + PART)) for k in range(0, rows, PART)]
    written = None
    for part in parts:
        columns = filled(store, part, rows)
        if written is None:
            written = pq.ParquetWriter(folder / "demo.parquet", columns.schema)
        written.write_table(columns)
    written.close()
    chosen(store, folder, rows)
    print(f"made {rows:,} rows in {time.perf_counter() - began:.0f} s", flush=True)
    return store


def filled(store, sids, rows):
    """Publish one part of the rows with all its cells; return its columns as a query names them."""
    rng = np.random.default_rng(int(sids[0]) + 1)
    n, bits = len(sids), BitMap(sids.astype(np.uint32))
    ids = [rng.bytes(16) for _ in range(n)]
    words = rng.integers(5000, size=(n, 40))
    prompts = [" ".join(f"w{word}" for word in row[:30]) + " ?" for row in words]
    responses = [" ".join(f"w{word}" for word in row[30:]) for row in words]
    files = [f"part-{sid * 4 // rows}.jsonl" for sid in sids]
    scores = {f"est_{name}": rng.standard_normal(n).astype(np.float32) for name in ESTIMATES}
    values = {f"inf_{name}": rng.random(n) for name in OUTPUTS}
    empty = [""] * n
    lengths = [np.array([len(text) for text in one], np.int32) for one in (prompts, responses)]
    samples = [sids, ids, prompts, responses, empty, empty, ["[]"] * n, *lengths]
    origin = [sids, files, sids, [b"{}"] * n, ["{}"] * n]
    embedding = [sids, vectors(rng, n, DIM), np.zeros(n, bool)]
    points = [sids, *values.values(), np.full(n, 50), np.zeros(n, bool)]
    with store.claim("ingest", "ingest:demo", {}) as run:
        dataset = dataset_of(store)
        blocks = [
            staged(run, "samples", tables.SAMPLES, samples, bits),
            staged(run, "rows", tables.ROWS, origin, bits, dataset_id=dataset),
            cells(store, run, "embedding", "minilm", tables.embedding(DIM), embedding, bits, DIM),
            cells(store, run, "points", "measured", tables.points(OUTPUTS), points, bits),
        ]
        for name in ESTIMATES:
            sides = [vectors(rng, n, WIDTH) for _ in range(2)]
            told = [sids, scores[f"est_{name}"], *sides]
            schema = tables.estimate(WIDTH)
            blocks.append(cells(store, run, "estimate", name, schema, told, bits, WIDTH))
        last = int(sids[-1]) + 1 == rows
        run.publish(blocks, version_of(store, run, dataset, rows) if last else nothing_more)
    shown = {"sample_id": [one.hex() for one in ids], "prompt": prompts, "response": responses}
    return pa.table({**shown, "file": files, **scores, **values})


def staged(run, kind, schema, columns, bits, **owner):
    arrays = [pa.array(one, field.type) for one, field in zip(columns, schema, strict=True)]
    return run.stage(kind, [pa.record_batch(arrays, schema=schema)], schema, bits, **owner)


def cells(store, run, kind, name, schema, columns, bits, dim=0):
    facts = {"outputs": [*OUTPUTS]} if kind == "points" else {}
    producer = store.producer(kind, name, facts, dim=dim)
    return staged(run, kind, schema, columns, bits, producer_id=producer.id)


def vectors(rng, n, dim):
    values = rng.standard_normal((n, dim), np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), dim)


def dataset_of(store):
    def work(session):
        row = session.get(Dataset, 1) or Dataset(name="demo", created_at=0.0)
        session.add(row)
        session.flush()
        return row.id

    return store.database.write(work)


def nothing_more(_session, _ids):
    pass


def version_of(store, run, dataset, rows):
    """What publishes version 1 of all rows."""

    def more(session, _ids):
        row = session.get(Dataset, dataset)
        row.head = 1
        bits = BitMap(range(rows)).serialize()
        made = {"run_id": run.id, "n_rows": rows, "digest": "", "bits": bits, "created_at": 0.0}
        session.add_all([row, DatasetVersion(dataset_id=dataset, number=1, **made)])

    return more


def chosen(store, folder, rows):
    """A selection of PICKS random rows, in the store and as Parquet."""
    rng = np.random.default_rng(0)
    n = min(PICKS, rows // 2)
    sids, ranks, gains = rng.permutation(rows)[:n], np.arange(n), np.sort(rng.random(n))[::-1]
    version = store.version("demo")

    def more(session, ids):
        facts = {"id": "5e1ec7ed" * 4, "dataset_version_id": version.id, "block_id": ids[0]}
        told = {"objective": "random", "kernel": "none", "n_items": n, "created_at": 0.0}
        session.add(Selection(**facts, **told, run_id=run.id))

    with store.claim("select", "select:demo", {}) as run:
        bits = BitMap(sids.astype(np.uint32))
        run.publish([staged(run, "selection", tables.SELECTION, [ranks, sids, gains], bits)], more)
    ids = pq.read_table(folder / "demo.parquet", columns=["sample_id"])["sample_id"].take(sids)
    items = {"selection": ["5e1ec7ed" * 4] * n, "rank": ranks, "sample_id": ids, "gain": gains}
    pq.write_table(pa.table(items), folder / "items.parquet")


if __name__ == "__main__":
    main()
