"""`query` and `sample` on the command line: forms, typed parameters, limits."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from influence_store.cli import cli
from influence_store.errors import NotFound, UsageError

N = 30


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verb")
    rows = [{"instruction": f"Say {k}", "output": f"{k}"} for k in range(N)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    invoked(folder / "store", "init")
    invoked(folder / "store", "ingest", str(folder / "rows.jsonl"), "--dataset", "demo")
    return folder / "store"


def invoked(root, *arguments):
    result = CliRunner().invoke(cli, ["--store", str(root), *arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


@pytest.fixture
def run(root, here):
    return lambda *arguments: invoked(root, *arguments)


SQL = "select line, prompt from demo order by line limit 2"
ROWS = [{"line": 1, "prompt": "Say 0"}, {"line": 2, "prompt": "Say 1"}]


def test_every_form_holds_the_same_rows(run):
    def got(form):
        return run("query", SQL, "--format", form)

    assert json.loads(got("json").stdout) == ROWS
    assert [json.loads(line) for line in got("ndjson").stdout.splitlines()] == ROWS
    assert got("csv").stdout == "line,prompt\n1,Say 0\n2,Say 1\n"
    assert pq.read_table(io.BytesIO(got("parquet").stdout_bytes)).to_pylist() == ROWS
    stream = pa.ipc.open_stream(got("arrow").stdout_bytes)
    assert stream.schema.types == [pa.int64(), pa.string()]
    assert stream.read_all().to_pylist() == ROWS


def test_parameters_have_the_type_that_is_said(run):
    sql = "select typeof($t) t, typeof($n) n, typeof($p) p, typeof($yes) yes"
    given = ("t=7", "n:int=7", "p:float=7", "yes:bool=true")
    options = [part for one in given for part in ("--param", one)]
    (row,) = json.loads(run("query", sql, *options, "--json").stdout)
    assert row == {"t": "VARCHAR", "n": "INTEGER", "p": "DOUBLE", "yes": "BOOLEAN"}


def test_a_parameter_that_is_not_of_its_type_is_refused(run):
    with pytest.raises(UsageError, match=r"(?s)'7.5' is no int\n.*n:int=10"):
        run("query", "select $n", "--param", "n:int=7.5")
    with pytest.raises(UsageError, match=r"(?s)no type 'date'\n.*text, int, float, bool"):
        run("query", "select $n", "--param", "n:date=2020-01-01")
    with pytest.raises(UsageError, match="is no bool"):
        run("query", "select $n", "--param", "n:bool=maybe")


def test_a_sample_is_the_same_for_the_same_seed(run):
    def shown(seed, n=5):
        told = run("sample", "demo", str(n), "--seed", str(seed), "--json").stdout
        return [row["sample_id"] for row in json.loads(told)]

    assert shown(0) == shown(0)
    assert shown(0) == shown(0, 9)[:5]
    assert shown(0) != shown(1)
    assert len(set(shown(0, N + 10))) == N


def test_a_sample_keeps_its_order_when_rows_are_added(run, root, tmp_path):
    def shown():
        told = run("sample", "more", "99", "--format", "ndjson").stdout
        return [json.loads(line)["sample_id"] for line in told.splitlines()]

    for k in range(2):
        rows = [{"instruction": f"Q{k} {i}", "output": "x"} for i in range(8)]
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        run("ingest", str(tmp_path / "rows.jsonl"), "--dataset", "more")
        if k == 0:
            before = shown()
    after = shown()
    assert len(after) == 16
    assert [one for one in after if one in before] == before


def test_a_sample_of_no_dataset_names_those_there_are(run):
    with pytest.raises(NotFound, match="'demi'; did you mean demo"):
        run("sample", "demi")


def test_the_limits_that_an_error_names_are_options(root):
    endless = "select count(*) from range(1e13::bigint) where random() < 2"
    with pytest.raises(UsageError, match=r"(?s)stopped after 0.5 s.*--timeout 5"):
        invoked(root, "query", endless, "--timeout", "0.5")
    with pytest.raises(UsageError, match=r"(?s)has an answer larger than 0.000977 GiB.*--memory"):
        invoked(root, "query", "select range from range(1000000)", "--memory", "1M")
