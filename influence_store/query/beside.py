"""What stands beside an estimate: its verdict, and the interval that its card promises.

    est_X          the estimate
    est_X_verdict  what its accuracy card says of the estimator
    est_X_low      the conformal interval around the estimate, at the card's coverage (90 %);
    est_X_high     null where too few values were held out to promise one

The interval is for the mean influence on the estimator's reference panel, as `est_X` is, and wide
or narrow alike for all rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
from sqlmodel import select

from influence_store.schema.catalog import Estimator

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from influence_store.schema.catalog import Producer
    from influence_store.store.store import Store

VERDICT, LOW, HIGH = "_verdict", "_low", "_high"


@dataclass(frozen=True)
class Beside:
    """One such column: `of` is the estimate it speaks about, `verdict` or `shift` what it adds."""

    of: str
    verdict: str | None = None
    shift: float | None = None

    def column(self, estimates: pl.Series) -> pl.Series:
        """A value for every estimate, null where there is none."""
        if self.verdict is not None:
            told = pl.when(estimates.is_not_null()).then(pl.lit(self.verdict))
            return pl.select(told).to_series()
        shift = pl.lit(self.shift, pl.Float64)
        return pl.select(pl.lit(estimates).cast(pl.Float64) + shift).to_series()


def beside(store: Store, estimates: Mapping[str, Producer]) -> dict[str, Beside]:
    """Column name → what it is, for the estimates by column name; no other column is shadowed."""
    with store.database.read() as session:
        cards = {row.producer_id: row for row in session.exec(select(Estimator)).all()}
    found: dict[str, Beside] = {}
    for name, producer in estimates.items():
        row = cards.get(producer.id or 0)
        if row is None:
            continue
        found[name + VERDICT] = Beside(name, verdict=row.verdict)
        if interval := row.card.get("scalar_interval"):
            half = interval["half_width"]
            found[name + LOW] = Beside(name, shift=None if half is None else -half)
            found[name + HIGH] = Beside(name, shift=half)
    return {name: one for name, one in found.items() if name not in estimates}


def with_beside(table: pa.Table, columns: Mapping[str, Beside], wanted: list[str]) -> pa.Table:
    """The `wanted` columns, those of `columns` computed from the estimates in `table`."""
    frame = pl.DataFrame(pl.from_arrow(table))
    for name in wanted:
        if name in columns:
            made = columns[name].column(frame[columns[name].of]).to_arrow()
            table = table.append_column(name, made)
    return table.select(wanted)


def needed(wanted: list[str], columns: Mapping[str, Beside]) -> list[str]:
    """What must be read for `wanted`: an estimate for what stands beside it."""
    return list(dict.fromkeys(columns[one].of if one in columns else one for one in wanted))
