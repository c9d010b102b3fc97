"""A bucket that fails while a block is staged and published: exact rows or a clean error.

The incident behind it: an S3 answer that is lost leaves the writer in doubt. What it does then must
never double rows, lose acknowledged ones, or show half a block.
"""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pytest
from fault_proxy import Fault
from pyroaring import BitMap
from s3_server import CANARIES

from influence_store.errors import Forbidden, InfluenceStoreError, StorageError, Unreachable
from influence_store.store.database import Database
from influence_store.store.location import Location
from influence_store.store.store import Store

FOREVER = 10**6
ROWS = 3000
SCHEMA = pa.schema([("sid", pa.int64()), ("vector", pa.list_(pa.float32(), 8))])
#: What Lance writes of a block, in this order.
PARTS = ("/data/", "/_transactions/", "/_versions/")
MADE_GOOD = [
    *[
        (kind, "PUT", part, 1 + (part == "/_versions/"))
        for kind in ("stored-500", "stored-dropped", "500")
        for part in PARTS
    ],
    ("slow", "PUT", "/_versions/", 1),
    *[(kind, "GET", part, 2) for kind in ("500", "cut") for part in ("/data/", "/_versions/")],
    ("500", "GET", "list-type", 2),
    ("500", "HEAD", "/blocks/", 2),
    # Every answer to the manifest is lost; the last attempt finds what the first has written.
    ("stored-500", "PUT", "/_versions/", FOREVER),
]
NOT_MADE_GOOD = [
    *[("500", "PUT", part, FOREVER) for part in PARTS],
    *[("403", "PUT", part, 1) for part in PARTS],
    ("stored-dropped", "PUT", "/data/", FOREVER),
    *[(kind, "GET", "/data/", FOREVER) for kind in ("500", "403", "cut")],
]


@pytest.fixture(scope="module")
def empty_catalog(tmp_path_factory):
    path = tmp_path_factory.mktemp("empty") / "catalog.sqlite"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path


@pytest.fixture
def on_bucket(objects, empty_catalog, tmp_path):
    """A store of which only the blocks lie in the bucket."""
    catalog = shutil.copy(empty_catalog, tmp_path)
    database = Database(f"sqlite:///{catalog}")
    yield Store(Location(objects.uri, objects, database), "test")
    database.close()


def rows() -> list[pa.RecordBatch]:
    numbers = np.random.default_rng(0).normal(size=(ROWS, 8)).astype(np.float32)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), 8)
    table = pa.table([pa.array(range(ROWS)), vectors], schema=SCHEMA)
    return table.to_batches(max_chunksize=1000)


def add_block(store: Store) -> None:
    with store.claim("embed", "all", {}) as run:
        run.publish([run.stage("samples", rows(), SCHEMA, BitMap(range(ROWS)))])


def found(store: Store) -> pa.Table:
    """All rows that a reader sees."""
    blocks = store.blocks("samples")
    return pa.Table.from_batches(store.scan(blocks, ["sid", "vector"]), schema=SCHEMA)


@pytest.mark.parametrize(("kind", "method", "part", "times"), MADE_GOOD)
def test_a_failure_that_passes_costs_nothing(s3, on_bucket, kind, method, part, times):
    with s3.failing(Fault(kind, method, part, times=times)) as fault:
        add_block(on_bucket)
    assert fault.hits >= min(times, 2)
    assert found(on_bucket) == pa.Table.from_batches(rows())


@pytest.mark.parametrize(("kind", "method", "part", "times"), NOT_MADE_GOOD)
def test_a_failure_that_stays_is_an_error_and_no_row(s3, on_bucket, kind, method, part, times):
    expected = Forbidden if kind == "403" else StorageError
    with (
        s3.failing(Fault(kind, method, part, times=times)) as fault,
        pytest.raises(expected) as error,
    ):
        add_block(on_bucket)
    assert fault.hits >= 1
    assert not [canary for canary in CANARIES if canary in str(error.value)]
    assert found(on_bucket).num_rows == 0
    add_block(on_bucket)
    assert found(on_bucket) == pa.Table.from_batches(rows())


@pytest.mark.parametrize("kind", ["500", "403"])
def test_a_bucket_that_fails_is_not_called_damaged(s3, on_bucket, kind):
    add_block(on_bucket)
    with (
        s3.failing(Fault(kind, "GET", times=FOREVER)),
        pytest.raises(InfluenceStoreError) as error,
    ):
        found(on_bucket)
    assert type(error.value) is (Forbidden if kind == "403" else Unreachable)


def test_what_is_not_in_the_bucket_is_damage(on_bucket):
    add_block(on_bucket)
    (block,) = on_bucket.blocks("samples")
    on_bucket.storage.delete([file.path for file in on_bucket.storage.files(block.path)])
    with pytest.raises(InfluenceStoreError, match="cannot be read") as error:
        found(on_bucket)
    assert error.value.exit_code == 7


def test_an_artifact_is_stored_whole_or_not_at_all(s3, on_bucket):
    content = b"weights" * 1000
    for kind in ("stored-500", "stored-dropped", "500"):
        with s3.failing(Fault(kind, "PUT", "/objects/")) as fault:
            artifact = on_bucket.put_artifact(content, "estimator")
        assert fault.hits == 1
        assert on_bucket.get_artifact(artifact.sha256) == content
    with s3.failing(Fault("500", "PUT", "/objects/", times=FOREVER)), pytest.raises(StorageError):
        on_bucket.put_artifact(content + b"2", "estimator")
    assert len(on_bucket.storage.files("objects")) == 1
