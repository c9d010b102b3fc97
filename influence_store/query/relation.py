"""A question put together in Python: rows of a view, narrowed step by step, read when asked for.

    good = store.view("demo").where("est_quality > $least", least=0.5)
    good.order_by("est_quality desc").limit(9).polars()

Each step returns a new relation and reads nothing. Conditions and terms are SQL; values are bound.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from influence_store.errors import UsageError
from influence_store.extras import require
from influence_store.query import query

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from influence_store.query.engine import Limits
    from influence_store.store.store import Store


@dataclass(frozen=True, repr=False)
class Relation:
    """Rows of `source` (what stands behind FROM), with columns, conditions, order and limit.

    All reading methods raise what `query` raises: NotFound for an unknown column names the nearest
    ones and the command that fills it.
    """

    store: Store
    source: str
    columns: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    size: int | None = None
    skip: int = 0
    params: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits | None = None

    def select(self, *columns: str) -> Relation:
        """Only these columns, or SQL expressions; all but vectors where none are named."""
        return replace(self, columns=columns)

    def where(self, condition: str, **params: Any) -> Relation:
        """Rows that fulfil this condition too; `$name` in it is bound to the keyword `name`.

        UsageError if an earlier condition bound the name to another value.
        """
        for name, value in params.items():
            if name in self.params and self.params[name] != value:
                raise UsageError(
                    f"${name} is {self.params[name]!r} in an earlier condition and {value!r} here",
                    hint="give one of them another name",
                )
        bound = {**self.params, **params}
        return replace(self, conditions=(*self.conditions, condition), params=bound)

    def order_by(self, *terms: str) -> Relation:
        """In this order, such as "est_quality desc"; replaces an earlier one."""
        return replace(self, terms=terms)

    def limit(self, size: int, skip: int = 0) -> Relation:
        """At most `size` rows, those behind the first `skip`; UsageError below 0."""
        if size < 0 or skip < 0:
            raise UsageError(
                f"limit({size}, skip={skip}) is no part of the rows", hint="both are 0 or more"
            )
        return replace(self, size=size, skip=skip)

    def within(self, limits: Limits) -> Relation:
        """Reading may use so much time and memory."""
        return replace(self, limits=limits)

    @property
    def sql(self) -> str:
        """The statement that reading runs."""
        parts = [f"select {', '.join(self.columns) or '*'}", f"from {self.source}"]
        if self.conditions:
            parts.append("where " + " and ".join(f"({one})" for one in self.conditions))
        if self.terms:
            parts.append("order by " + ", ".join(self.terms))
        if self.size is not None:
            parts.append(f"limit {self.size:d}")
        if self.skip:
            parts.append(f"offset {self.skip:d}")
        return "\n".join(parts)

    def arrow(self) -> pa.Table:
        """The rows as an Arrow table."""
        return query(self.store, self.sql, self.params, self.limits)

    def polars(self) -> pl.DataFrame:
        """The rows as a polars DataFrame."""
        return pl.DataFrame(pl.from_arrow(self.arrow()))

    def pandas(self) -> Any:
        """The rows as a pandas DataFrame; MissingExtra where pandas is not installed."""
        require("pandas", extra="trainers")
        return self.arrow().to_pandas()

    def to_dataset(self) -> Any:
        """The rows as a `datasets.Dataset`; MissingExtra where `datasets` is not installed."""
        return require("datasets", extra="trainers").Dataset(self.arrow())

    def count(self) -> int:
        """How many rows there are; nothing is read that the conditions do not name."""
        told = replace(self, columns=("1",), terms=()).sql
        counted = query(self.store, f"select count(*) from ({told})", self.params, self.limits)
        return int(counted.column(0)[0].as_py())

    def __repr__(self) -> str:
        """What would be asked."""
        return f"<Relation\n{self.sql}\n>"


def view(store: Store, name: str) -> Relation:
    """All rows of one view, `demo` or `demo@2` among them."""
    quoted = name.replace('"', '""')
    return Relation(store, f'"{quoted}"')


def selected(store: Store, selection: str) -> Relation:
    """The rows of a stored selection (an id or its beginning), best first."""
    return Relation(store, "selected($selection)", terms=("rank",), params={"selection": selection})
