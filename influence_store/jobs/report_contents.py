"""What is in a version: rows, sources, lengths, shapes, near duplicates, and how it came to be."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import orjson
from sqlmodel import col, select

from influence_store.jobs.near_duplicates import KEEP_FIRST, stored_clusters
from influence_store.jobs.report_rows import counts, short_names, spread
from influence_store.overlap.clusters import surplus
from influence_store.report.facts import Contents, Histogram, Lengths, NearDuplicates, VersionRow
from influence_store.report.values import Count, Missing
from influence_store.schema.catalog import DatasetVersion, Forgotten, Run, Tag

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.jobs.report_rows import Rows
    from influence_store.protocols import Doubles
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

_PARTS = {"prompt": "prompt_chars", "response": "response_chars"}


def contents(store: Store, rows: Rows) -> Contents:
    """The first section of the report."""
    suffixes = (PurePosixPath(name).suffix or "(no suffix)" for name in rows.sources)
    return Contents(
        rows=len(rows.sids),
        sources=counts(rows.sources),
        formats=counts(suffixes),
        shapes=_shapes(store, rows.version),
        lengths=_lengths(store, rows.version),
        near_duplicates=_near_duplicates(store, rows.version),
        versions=_history(store, rows.version),
        forgotten=_forgotten(store),
    )


def _lengths(store: Store, version: Version) -> tuple[Lengths, ...]:
    found: dict[str, list[Doubles]] = {part: [] for part in _PARTS}
    for batch in store.scan(store.blocks("samples"), [*_PARTS.values()], version.bits):
        for part, column in _PARTS.items():
            found[part].append(batch[column].to_numpy().astype(np.float64))
    whole = {part: np.concatenate(batches) for part, batches in found.items()}
    return tuple(Lengths(part, spread(one), _doubling(one)) for part, one in whole.items())


def _doubling(chars: Doubles) -> Histogram:
    """Counts in 0, 1, 2–3, 4–7, 8–15, … up to the longest: texts differ in magnitude."""
    n_bins = int(chars.max()).bit_length() + 1
    edges = [0, *(1 << k for k in range(n_bins))]
    found, _ = np.histogram(chars, edges)
    return Histogram(tuple(map(float, edges)), tuple(found.tolist()))


def _shapes(store: Store, version: Version) -> tuple[Count, ...]:
    """What the conversations consist of; a row counts under every name that fits it."""
    found: Counter[str] = Counter()
    for batch in store.scan(store.blocks("samples"), ["turns", "system", "tools"], version.bits):
        for row in batch.to_pylist():
            asked = sum(role == "user" for role, _ in orjson.loads(row["turns"]))
            found[("no question", "one question", "several turns")[min(asked, 2)]] += 1
            found["a system prompt"] += bool(row["system"])
            found["tools"] += bool(row["tools"])
    return tuple(one for one in counts(found.elements()) if one.rows)


def _near_duplicates(store: Store, version: Version) -> NearDuplicates | Missing:
    found = stored_clusters(store, version)
    if found is None:
        return Missing(
            "The rows of this version have not been compared for near duplicates.",
            f"influence-store duplicates {version}",
        )
    sizes = [len(one) for one in found.by_size()]
    gone = surplus(found, None, KEEP_FIRST)
    return NearDuplicates(len(found.sids), len(sizes), max(sizes, default=0), len(gone.sids))


def _history(store: Store, version: Version) -> tuple[VersionRow, ...]:
    """The versions up to this one that stand, oldest first."""
    query = (
        select(DatasetVersion, Run.params)
        .join(Run, col(Run.id) == col(DatasetVersion.run_id))
        .where(
            DatasetVersion.dataset_id == version.dataset_id,
            DatasetVersion.number <= version.number,
            col(DatasetVersion.deleted_at).is_(None),
        )
        .order_by(col(DatasetVersion.number))
    )
    with store.database.read() as session:
        tags = session.exec(select(Tag).where(Tag.dataset_id == version.dataset_id)).all()
        named = sorted((one.name, one.number) for one in tags)
        return tuple(
            VersionRow(
                number=row.number,
                created_at=row.created_at,
                tags=tuple(name for name, number in named if number == row.number),
                rows=row.n_rows,
                how=_how(params),
                **{name: int(row.counts.get(name, 0)) for name in _COUNTED},
            )
            for row, params in session.exec(query).all()
        )


_COUNTED = ("new", "kept", "removed", "repeated", "duplicates", "rejected", "forgotten")


def _how(params: Mapping[str, object]) -> str:
    """By what rows left the dataset in this step."""
    if params.get("snapshot"):
        return "the files are the whole version"
    removed = params.get("removed")
    return f"named in {short_names([str(removed)])[str(removed)]}" if removed else ""


def _forgotten(store: Store) -> tuple[Count, ...]:
    """Reasons for which contents were taken out of the store for good."""
    with store.database.read() as session:
        return counts(session.exec(select(Forgotten.reason)).all())
