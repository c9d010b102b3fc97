"""The process that answers: its limits, its end, what it gets to see and what it gives back."""

from __future__ import annotations

import datetime
import decimal
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from influence_store.errors import StorageError, UsageError
from influence_store.query import child, engine
from influence_store.query.engine import Engine, EngineError, Limits

ENDLESS = "select count(*) from range(1e13::bigint) where random() < 2"
needs_kernel_limits = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS, /proc")


def run(sql, params=None, limits=None, **tables):
    with Engine(limits or Limits()) as asked:
        asked.ask(sql)
        asked.accepted()
        for name, table in tables.items():
            asked.send(name, table)
        return asked.rows(params or {})


def test_rows_and_types_come_back_as_the_engine_makes_them(words, locked):
    sql = (
        "select *, n::hugeint h, [n] l, {'k': prompt} s, date '2020-01-01' + n::int d, "
        "timestamptz '2020-01-01 00:00:00+00' t, 1.5::decimal(9, 2) c, 'x'::enum('x', 'y') e, "
        "map([n], [n]) m, interval 1 day i, null z, '{\"a\": 1}'->>'a' j from words"
    )
    assert run(sql, words=words).equals(locked.sql(sql).to_arrow_table())


def test_parameters_of_every_kind_arrive(words):
    given = {
        "text": "ä'; --",
        "whole": 2**62,
        "real": 0.1,
        "numpy": np.float32(0.5),
        "no": None,
        "yes": True,
        "bytes": b"\x00\xff",
        "list": [1, 2],
        "day": datetime.date(2020, 2, 29),
        "time": datetime.datetime(2020, 2, 29, 12, tzinfo=datetime.UTC),
        "exact": decimal.Decimal("1.50"),
    }
    sql = "select " + ", ".join(f"${name} as {name}" for name in given)
    (row,) = run(sql, given).to_pylist()
    assert row == given


@pytest.mark.parametrize("value", [object(), "\udc80", 2**80])
def test_a_parameter_that_sql_cannot_hold_is_refused(value):
    with pytest.raises(UsageError, match="parameter"):
        run("select $x", {"x": value})


def test_sql_that_is_not_unicode_is_refused():
    with pytest.raises(UsageError, match="not Unicode"):
        run("select '\udc80'")


@pytest.mark.parametrize("sql", ["select nope from words", "selec", "select 'a'::int", "from nix"])
def test_errors_have_the_words_they_have_without_a_process(words, locked, sql):
    with pytest.raises(duckdb.Error) as here:
        locked.sql(sql).fetchall()
    with pytest.raises(EngineError) as there:
        run(sql, words=words)
    assert there.value.name == type(here.value).__name__
    assert str(there.value) == str(here.value)


@pytest.mark.parametrize(
    "setting", [*child._CONFIG, "enable_progress_bar", "enable_external_access"]
)
def test_every_setting_of_the_lock_is_in_force(locked, setting):
    value = locked.execute("select current_setting($name)", {"name": setting}).fetchone()[0]
    assert value == {"max_temp_directory_size": "0 bytes", "temp_directory": ""}.get(setting, False)


def test_an_error_in_the_midst_of_the_rows_is_told():
    with pytest.raises(EngineError, match="boom"):
        run("select if(range = 900000, error('boom'), range) from range(1000000)")


@pytest.mark.parametrize(
    "sql",
    [
        ENDLESS,
        "with recursive t(a) as (select 1 union all select a + 1 from t) select count(*) from t",
        "select count(regexp_replace(repeat('ab', 50000000), 'a', 'b', 'g')) from range(1000)",
    ],
)
def test_an_endless_query_is_killed_at_the_limit(sql):
    began = time.monotonic()
    with Engine(Limits(seconds=1)) as asked:
        asked.ask(sql)
        asked.accepted()
        with pytest.raises(UsageError, match=r"(?s)stopped after 1 s\n.*--timeout 10"):
            asked.rows({})
        assert asked.process.poll() == -signal.SIGKILL
    assert time.monotonic() - began < 60  # it would never end by itself


@needs_kernel_limits
@pytest.mark.parametrize(
    "sql",
    [
        "select length(repeat('x', 2000000000))",
        "select count(*) from (select distinct random() from range(10000000))",
    ],
)
def test_a_query_that_needs_too_much_memory_says_so(sql):
    with pytest.raises(UsageError, match=r"(?s)more than 0.125 GiB.*--memory"):
        run(sql, limits=Limits(memory=1 << 27))


def test_more_columns_than_memory_are_refused_before_they_are_sent():
    table = pa.table({"x": pa.nulls(1 << 20, pa.int64())})
    with pytest.raises(UsageError, match="reads more columns than fit into"):
        run("select count(x) from big", limits=Limits(memory=1 << 22), big=table)


def test_an_answer_larger_than_memory_is_cut_off():
    with pytest.raises(UsageError, match="has an answer larger than"):
        run("select range, random() from range(10000000)", limits=Limits(memory=1 << 26))


def test_an_engine_that_dies_is_told_with_its_signal():
    with Engine(Limits()) as asked:
        asked.ask(ENDLESS)
        asked.accepted()
        killing = Timer(0.3, asked.process.send_signal, [signal.SIGSEGV])
        killing.start()
        with pytest.raises(UsageError, match="SIGSEGV"):
            asked.rows({})


def test_an_engine_that_dies_while_it_is_sent_a_table_is_told():
    with Engine(Limits()) as asked:
        asked.ask("select 1")
        asked.accepted()
        asked.process.kill()
        with pytest.raises(UsageError, match="SIGKILL"):
            asked.send("x", pa.table({"x": pa.nulls(1 << 20, pa.int64())}))


def test_an_engine_that_cannot_start_is_told(monkeypatch):
    monkeypatch.setattr(engine, "_command", lambda: ("/no/such/python",))
    with pytest.raises(StorageError, match="cannot be started"):
        run("select 1")
    monkeypatch.setattr(engine, "_command", lambda: (sys.executable, "-c", "import nothing_here"))
    with pytest.raises(StorageError, match=r"(?s)exit 1.*import duckdb, pyarrow"):
        run("select 1")


@pytest.fixture
def heeded():
    """Ctrl-C is heard, also where the suite runs in the background and a shell had it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_the_engine(heeded):
    with Engine(Limits(seconds=60)) as asked:
        asked.ask(ENDLESS)
        asked.accepted()
        pressing = Timer(0.5, os.kill, [os.getpid(), signal.SIGINT])
        pressing.start()
        with pytest.raises(KeyboardInterrupt):
            asked.rows({})
    assert asked.process.poll() == -signal.SIGKILL


_PARENT = """
import sys
from influence_store.query.engine import Engine, Limits
with Engine(Limits()) as asked:
    asked.ask(sys.argv[1])
    asked.accepted()
    print(asked.process.pid, flush=True)
    asked.rows({})
"""


@needs_kernel_limits
def test_the_engine_dies_with_a_parent_that_is_killed():
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, ENDLESS], stdout=subprocess.PIPE, text=True
    )
    with parent:
        running = Path("/proc", parent.stdout.readline().strip())
        while not re.search(r"Max open files +0 ", (running / "limits").read_text()):
            time.sleep(0.02)  # until it is locked, just before it runs the statement
        assert is_running(running)
        parent.kill()
    wait_until = time.monotonic() + 60
    while is_running(running) and time.monotonic() < wait_until:
        time.sleep(0.02)
    assert not is_running(running)


def is_running(process):
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@needs_kernel_limits
def test_the_engine_sees_no_secret_and_no_open_file(monkeypatch, tmp_path):
    for name in ("AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "HF_TOKEN", "INFLUENCE_STORE_DATABASE"):
        monkeypatch.setenv(name, "canary-5b1e")
    with (tmp_path / "secret").open("w") as secret, Engine(Limits()) as asked:
        os.set_inheritable(secret.fileno(), True)
        asked.ask("select 'canary'")
        asked.accepted()
        process = Path("/proc", str(asked.process.pid))
        seen = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        held = {os.readlink(one).partition(":")[0] for one in (process / "fd").iterdir()}
    assert b"canary" not in seen
    assert held == {"pipe", "/dev/null"}
