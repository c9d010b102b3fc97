"""The small views: what SQL itself knows about datasets, estimators, selections and runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import polars as pl
from sqlalchemy.orm import defer
from sqlmodel import col, select

from influence_store.schema import catalog

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlmodel import Session

    from influence_store.store.store import Store

_TEXT, _COUNT, _NUMBER = pl.String, pl.Int64, pl.Float64


def catalog_rows(store: Store) -> dict[str, pl.DataFrame]:
    """The views `datasets`, `producers`, `estimators`, `selections` and `runs`, from SQL."""
    with store.database.read() as session:
        versions = session.exec(
            select(catalog.DatasetVersion, catalog.Dataset.name)
            .join(catalog.Dataset)
            .order_by(col(catalog.DatasetVersion.id))
            .options(defer(catalog.DatasetVersion.bits))  # type: ignore[arg-type]
        ).all()
        names = {version.id: f"{name}@{version.number}" for version, name in versions}
        return {
            "datasets": _frame(
                (
                    (
                        name,
                        version.number,
                        version.n_rows,
                        version.counts.get("rejected", 0),
                        orjson.dumps(version.counts.get("reject_reasons", {})).decode(),
                    )
                    for version, name in versions
                    if version.deleted_at is None
                ),
                {
                    "dataset": _TEXT,
                    "version": _COUNT,
                    "rows": _COUNT,
                    "rejected": _COUNT,
                    "reject_reasons": _TEXT,
                },
            ),
            "producers": _producers(session),
            "estimators": _estimators(session, names),
            "selections": _selections(session, names),
            "runs": _runs(session),
        }


def _producers(session: Session) -> pl.DataFrame:
    rows = session.exec(select(catalog.Producer).order_by(col(catalog.Producer.id))).all()
    columns = ("name", "kind", "higher_means", "fingerprint", "facts")
    return _frame(
        (
            (
                row.name,
                row.kind,
                row.higher_means,
                row.fingerprint,
                orjson.dumps(row.facts).decode(),
            )
            for row in rows
        ),
        dict.fromkeys(columns, _TEXT),
    )


def _estimators(session: Session, names: dict[int | None, str]) -> pl.DataFrame:
    producers = {p.id: p for p in session.exec(select(catalog.Producer)).all()}
    rows = session.exec(select(catalog.Estimator)).all()
    columns = (
        "name", "network", "method", "output", "trained_on", "verdict", "fingerprint", "card"
    )  # fmt: skip
    return _frame(
        (
            (
                producers[row.producer_id].name,
                row.network,
                producers[row.method_id].name,
                row.output,
                names.get(row.dataset_version_id) or row.card["origin"]["dataset"],
                row.verdict,
                producers[row.producer_id].fingerprint,
                orjson.dumps(row.card).decode(),
            )
            for row in rows
        ),
        dict.fromkeys(columns, _TEXT),
    )


def _selections(session: Session, names: dict[int | None, str]) -> pl.DataFrame:
    rows = session.exec(select(catalog.Selection)).all()
    texts = dict.fromkeys(("id", "dataset", "objective", "kernel"), _TEXT)
    return _frame(
        (
            (row.id, names[row.dataset_version_id], row.objective, row.kernel, row.n_items)
            for row in rows
        ),
        {**texts, "items": _COUNT},
    )


def _runs(session: Session) -> pl.DataFrame:
    rows = session.exec(select(catalog.Run).order_by(col(catalog.Run.started_at))).all()
    spent = ("llm_passes", "llm_tokens", "embeddings", "fills")
    return _frame(
        (
            (
                row.id,
                row.verb,
                row.state,
                (row.finished_at or row.started_at) - row.started_at,
                *[row.cost.get(name, 0) for name in spent],
            )
            for row in rows
        ),
        {
            **dict.fromkeys(("id", "verb", "state"), _TEXT),
            "seconds": _NUMBER,
            **dict.fromkeys(spent, _COUNT),
        },
    )


def _frame(rows: Iterable[tuple[Any, ...]], schema: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=schema, orient="row")
