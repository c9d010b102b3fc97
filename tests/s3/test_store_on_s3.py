"""A whole store in a bucket with its catalog in PostgreSQL, through the command line."""

from __future__ import annotations

import json
import os
import signal
import uuid
from pathlib import Path

import children
import own_process
import pytest
from click.testing import CliRunner
from fault_proxy import Fault
from s3_server import CANARIES

from influence_store.cli import cli
from influence_store.errors import StorageError, UsageError

ROWS = 60


@pytest.fixture
def catalog(postgres_server) -> str:
    """The URL of a database with an empty catalog: migrating each anew takes a second."""
    name = f"t{uuid.uuid4().hex[:12]}"
    postgres_server.copy(postgres_server.empty_catalog(), name)
    return postgres_server.url(name)


@pytest.fixture
def run(place):
    """Runs a verb against the store in the bucket."""

    def told(*arguments: str) -> str:
        result = CliRunner().invoke(cli, ["--store", place, *arguments], standalone_mode=False)
        assert not [canary for canary in CANARIES if canary in result.output]
        if result.exception is not None:
            raise result.exception
        return result.stdout

    return told


@pytest.fixture
def data(tmp_path):
    """Files of sums: a function of their numbers."""

    def write(*numbers: int) -> str:
        path = tmp_path / f"rows-{numbers[0]}.jsonl"
        rows = [
            {"instruction": f"What is {k} + {k}?", "output": f"It is {2 * k}."} for k in numbers
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write


def count(run) -> int:
    (row,) = json.loads(run("query", "select count(*) as n from demo", "--json"))
    return row["n"]


def test_a_store_lives_in_a_bucket(run, s3, catalog, data, tmp_path):
    run("init", "--database", catalog)
    run("ingest", data(*range(ROWS)), "--dataset", "demo")
    run("ingest", data(*range(ROWS, ROWS + 5)), "--dataset", "demo")
    run("embed", "demo", "--embedder", "hashing:32")
    assert count(run) == ROWS + 5

    sql = "select sample_id from demo order by line limit 1"
    ((sample,),) = [row.values() for row in json.loads(run("query", sql, "--json"))]
    assert len(json.loads(run("top", "demo", sample, "-k", "3", "--json"))["rows"]) == 3

    picked = json.loads(run("select", "demo", "--budget", "10", "--kernel", "cosine", "--json"))
    out = tmp_path / "out"
    run("export", picked["id"], "-o", str(out))
    assert len((out / "train.jsonl").read_text().splitlines()) == 10

    written = {url for method, url in s3.requests if method == "PUT"}
    assert any("/blocks/embedding/" in url for url in written)
    assert not (tmp_path / "s3:").exists()


def test_a_killed_ingest_leaves_the_old_state_and_a_rerun_finishes(
    run, place, catalog, data, tmp_path
):
    # All its files are in the bucket by then. Every other step: tests/reliability.
    step = "publish-begun"
    run("init", "--database", catalog)
    run("ingest", data(*range(ROWS)), "--dataset", "demo")
    more = ["ingest", data(*range(ROWS, ROWS + 9)), "--dataset", "demo"]
    environment = {**os.environ, "INFLUENCE_STORE_KILL_AT": step}
    said = tmp_path / "said"
    line = ["--store", place, *more]
    assert children.run(own_process.verb, line, tmp_path, environment, said) == -signal.SIGKILL
    told = Path(f"{said}.out").read_text() + Path(f"{said}.err").read_text()
    assert not [canary for canary in CANARIES if canary in told]
    assert count(run) == ROWS
    run(*more)
    assert count(run) == ROWS + 9


def test_a_bucket_that_fakes_put_if_absent_gets_no_store(run, s3, objects, catalog):
    with (
        s3.failing(Fault("no-precondition", "PUT", times=10**6)),
        pytest.raises(StorageError, match="does not honour put-if-absent"),
    ):
        run("init", "--database", catalog)
    assert objects.files() == []


def test_a_store_in_a_bucket_needs_a_database_server(run, s3):
    with pytest.raises(UsageError, match="PostgreSQL"):
        run("init")
