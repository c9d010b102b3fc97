"""The small views: what SQL itself knows about datasets, estimators, selections and runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from sqlmodel import col, select

from influence_store.schema import catalog

if TYPE_CHECKING:
    from influence_store.store.store import Store


def catalog_rows(store: Store) -> dict[str, pl.DataFrame]:
    """The views `datasets`, `estimators`, `selections` and `runs`, straight from SQL."""
    with store.database.read() as session:
        versions = session.exec(
            select(catalog.DatasetVersion, catalog.Dataset.name)
            .join(catalog.Dataset)
            .order_by(col(catalog.DatasetVersion.id))
        ).all()
        names = {version.id: f"{name}@{version.number}" for version, name in versions}
        producers = {p.id: p for p in session.exec(select(catalog.Producer)).all()}
        estimators = session.exec(select(catalog.Estimator)).all()
        selections = session.exec(select(catalog.Selection)).all()
        runs = session.exec(select(catalog.Run).order_by(col(catalog.Run.started_at))).all()
    return {
        "datasets": pl.DataFrame(
            [{"dataset": name, "version": v.number, "rows": v.n_rows} for v, name in versions],
            schema={"dataset": pl.String, "version": pl.Int64, "rows": pl.Int64},
        ),
        "estimators": pl.DataFrame(
            [
                {
                    "name": producers[row.producer_id].name,
                    "network": row.network,
                    "method": producers[row.method_id].name,
                    "output": row.output,
                    "trained_on": names[row.dataset_version_id],
                    "verdict": row.verdict,
                    "fingerprint": producers[row.producer_id].fingerprint,
                }
                for row in estimators
            ],
            schema=dict.fromkeys(
                ["name", "network", "method", "output", "trained_on", "verdict", "fingerprint"],
                pl.String,
            ),
        ),
        "selections": pl.DataFrame(
            [
                {
                    "id": row.id,
                    "dataset": names[row.dataset_version_id],
                    "objective": row.objective,
                    "kernel": row.kernel,
                    "items": row.n_items,
                }
                for row in selections
            ],
            schema={
                **dict.fromkeys(["id", "dataset", "objective", "kernel"], pl.String),
                "items": pl.Int64,
            },
        ),
        "runs": pl.DataFrame(
            [
                {
                    "id": row.id,
                    "verb": row.verb,
                    "state": row.state,
                    "seconds": (row.finished_at or row.started_at) - row.started_at,
                    "llm_passes": row.cost.get("llm_passes", 0),
                    "embeddings": row.cost.get("embeddings", 0),
                    "fills": row.cost.get("fills", 0),
                }
                for row in runs
            ],
            schema={
                **dict.fromkeys(["id", "verb", "state"], pl.String),
                "seconds": pl.Float64,
                **dict.fromkeys(["llm_passes", "embeddings", "fills"], pl.Int64),
            },
        ),
    }
