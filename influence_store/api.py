"""The store from Python: open it, ask it. Writing is the command line's (and `jobs`') business."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from influence_store.errors import NotFound
from influence_store.query import query, relation
from influence_store.query.views import views
from influence_store.settings import DEFAULT_STORE
from influence_store.store.store import Store
from influence_store.version import __version__

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from influence_store.query.relation import Relation


class InfluenceStore:
    """An open store; a context manager that lets go of the catalog at its end."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def query(self, sql: str, **params: Any) -> pl.DataFrame:
        """The rows of one SELECT; `$name` in `sql` is bound to the keyword `name`.

        UsageError for anything but one SELECT, NotFound for a view or column that does not exist.

        >>> store.query("select prompt from demo where response = $told", told="Paris")
        shape: (1, 1)
        ┌────────────────────┐
        │ prompt             │
        │ ---                │
        │ str                │
        ╞════════════════════╡
        │ Capital of France? │
        └────────────────────┘
        """
        return pl.DataFrame(pl.from_arrow(query(self._store, sql, params)))

    def view(self, name: str) -> Relation:
        """The rows of a view (`demo`, `demo@1`, `samples`, …), to be narrowed and then read.

        NotFound, with the nearest names, for a view that does not exist.

        >>> short = store.view("demo").where("prompt_chars < $most", most=10).order_by("prompt")
        >>> short.select("prompt").polars()["prompt"].to_list()
        ['1 + 1?', '2 + 2?']
        >>> short.count()
        2
        >>> print(short.sql)
        select *
        from "demo"
        where (prompt_chars < $most)
        order by prompt
        """
        offered = views(self._store)
        if name.lower() not in offered:
            raise NotFound.named("view", name, offered, hint="see: influence-store status")
        return relation.view(self._store, name)

    def selected(self, selection: str) -> Relation:
        """The rows of a stored selection (its id, or the beginning of it), best first."""
        return relation.selected(self._store, selection)

    def __repr__(self) -> str:
        return f"InfluenceStore({self._store.uri!r})"

    def datasets(self) -> dict[str, int]:
        """Number of rows by `name@version`."""
        return {str(version): len(version.bits) for version in self._store.versions()}

    def close(self) -> None:
        """Let go of the catalog; whatever is asked afterwards is a UsageError."""
        self._store.database.end()

    def __enter__(self) -> InfluenceStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open(uri: str | Path = DEFAULT_STORE, database: str | None = None) -> InfluenceStore:
    """Open the store at a directory or s3://…; NotFound where there is none."""
    return InfluenceStore(Store.open(uri, __version__, database))
