"""The engine without its process, where hundreds of statements are asked."""

from __future__ import annotations

from contextlib import contextmanager

import duckdb

from influence_store.query import child
from influence_store.query.engine import EngineError


class Here:
    """The engine's own parser, lock and tables, but in this process: many statements."""

    def __init__(self, _limits):
        self._connection = child.connect(threads=1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._connection.close()

    def ask(self, sql):
        self._sql = sql

    def accepted(self):
        with as_engine_errors():
            self._statement = child.one_select(self._connection, self._sql)
            return child.tree(self._connection, self._sql)

    def send(self, name, table):
        self._connection.register(name, table)

    def rows(self, params):
        with as_engine_errors():
            return self._connection.sql(self._statement, params=params).to_arrow_table()

    def hold(self, size):
        pass


@contextmanager
def as_engine_errors():
    try:
        yield
    except (duckdb.Error, child.NotOneSelect) as error:
        raise EngineError(type(error).__name__, str(error)) from error
