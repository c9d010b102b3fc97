"""No statement reaches a file, the network, a variable or a setting; each of three walls holds."""

from __future__ import annotations

import random
import sys
from threading import Timer

import duckdb
import pyarrow as pa
import pytest
from hostile_sql import CANARY, OTHERS, SELECTS

from influence_store.query import child, engine
from influence_store.query.engine import Engine, EngineError, Limits

#: A replacement scan would find it by its name.
a_python_variable = pa.table({"name": [CANARY]})


def content(folder):
    """Every file below a folder with its bytes."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def settings(connection):
    return connection.execute("select name, value from duckdb_settings() order by all").fetchall()


def answer(connection, sql):
    """What comes back, in one text; an error of the engine is an answer too."""
    ending = Timer(5, connection.interrupt)
    ending.start()
    try:
        connection.execute(sql)
        return str(connection.fetchall())
    except duckdb.Error as error:
        return str(error)
    finally:
        ending.cancel()


def through_the_engine(sql, **tables):
    with Engine(Limits()) as asked:
        asked.ask(sql)
        asked.accepted()
        for name, table in tables.items():
            asked.send(name, table)
        return asked.rows({}).to_pylist()


@pytest.mark.parametrize("sql", [*SELECTS, *OTHERS])
def test_the_lock_of_the_engine_alone_holds(locked, bait, sql):
    files, fixed = content(bait), settings(locked)
    with pytest.raises(duckdb.Error) as refused:
        locked.execute(sql.format(bait=bait)).fetchall()
    assert CANARY not in str(refused.value)
    assert content(bait) == files
    assert settings(locked) == fixed


def test_the_bait_is_taken_where_nothing_is_locked(bait, tmp_path):
    here = [sql for sql in SELECTS if "{bait}/a" in sql]
    offline = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    with duckdb.connect(":memory:", config=offline) as free:
        taken = [sql for sql in here if CANARY in answer(free, sql.format(bait=bait))]
        free.execute(f"copy (select 1) to '{tmp_path}/out.csv'")
    assert len(taken) >= 12
    assert list(content(tmp_path)) == [tmp_path / "out.csv"]


@pytest.mark.parametrize("sql", SELECTS)
def test_a_select_gets_nothing_through_the_engine(bait, words, sql):
    files = content(bait)
    with pytest.raises(EngineError) as refused:
        through_the_engine(sql.format(bait=bait), words=words)
    assert CANARY not in str(refused.value)
    assert content(bait) == files


@pytest.mark.parametrize("sql", OTHERS)
def test_what_is_no_select_is_not_even_run(locked, sql):
    with pytest.raises((child.NotOneSelect, duckdb.Error)):
        child.one_select(locked, sql.format(bait="/bait"))


_UNLOCKED = """
import sys
sys.path += sys.argv[1:]
from influence_store.query import child
child._CONFIG, child._CLOSED = {}, ()
child.main()
"""


def test_the_kernel_holds_where_the_engine_is_not_locked(bait, monkeypatch):
    pytest.importorskip("resource", reason="no kernel limits here")
    unlocked = (sys.executable, "-c", _UNLOCKED, *[path for path in sys.path if path])
    monkeypatch.setattr(engine, "_command", lambda: unlocked)
    with pytest.raises(EngineError, match="Too many open files"):
        through_the_engine(f"select * from read_text('{bait}/a.txt')")


_HARMLESS = [
    "select * from words",
    "select prompt, count(*) from words group by prompt having count(*) > 0 order by 2 limit 3",
    "with w as (select n from words) select sum(n) over (order by n) from w",
    "select standardised(n, prompt) from words where prompt like 'x%' or n in (1, 2)",
    "select a.n, b.prompt from words a join words b using (sample_id)",
    "select case when n > 1 then 'a' else 'b' end, n::varchar || 'x', [n, 2], {'k': n} from words",
]


def mutants(seed, n, statements, folder):
    """`n` statements made by splicing, dropping, doubling and spicing the words of some."""
    chance = random.Random(seed)
    sources = [sql.replace("{bait}", str(folder)).split() for sql in statements]
    spice = [*"\x00é;'\"(),*", "--", "/*", "*/", "$$", "select", "from"]
    for _ in range(n):
        words = list(chance.choice(sources))
        for _ in range(chance.randint(1, 3)):
            at, other = chance.randrange(len(words) + 1), chance.choice(sources)
            change = chance.randrange(4)
            if change == 0:
                start = chance.randrange(len(other))
                words[at:at] = other[start : start + chance.randint(1, 6)]
            elif change == 1:
                del words[at : at + chance.randint(1, 2)]
            elif change == 2:
                words.insert(at, chance.choice(spice))
            else:
                words[at:at] = words[at : at + 2]
        yield " ".join(words)


def test_tens_of_thousands_of_mutants_are_read_or_refused(locked, bait):
    files = content(bait)
    accepted = 0
    for sql in mutants(7, 100_000, [*SELECTS, *OTHERS, *_HARMLESS], bait):
        try:
            child.one_select(locked, sql)
            accepted += 1
        except (child.NotOneSelect, duckdb.Error):
            pass
    assert 5_000 < accepted < 90_000  # else the mutants are all alike
    assert content(bait) == files


def test_hundreds_of_mutants_run_on_one_locked_engine_get_nothing(locked, bait):
    files, fixed = content(bait), settings(locked)
    answered = 0
    for sql in mutants(8, 1500, [*SELECTS, *(16 * _HARMLESS)], bait):
        told = answer(locked, sql)
        answered += told.startswith("[")
        assert CANARY not in told, sql
    assert answered > 30
    assert content(bait) == files
    assert settings(locked) == fixed


def test_a_hostile_nesting_is_refused(locked):
    for sql in ("select " + "(" * 5000 + "1" + ")" * 5000, "select 1" + "+1" * 20000):
        with pytest.raises(duckdb.Error):
            child.one_select(locked, sql)
