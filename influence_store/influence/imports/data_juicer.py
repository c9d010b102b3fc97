"""data-juicer: the numbers that its filters computed, one JSON object per line.

Its exporter (`core/exporter.py` of 1.6) writes `<name>_stats.jsonl`, whose lines hold
`__dj__stats__` alone, or keeps that field in the records (`keep_stats_in_res_ds`). Every statistic
that is one number per row becomes an output; the others (texts, lists, flags) are counted. The
rows are those of the exported data, after all filters: name that file under `sample_ids`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.errors import Incompatible, InputError, ReadError
from influence_store.influence.imports.scores import Read, points

if TYPE_CHECKING:
    from pathlib import Path

    from influence_store.influence.imports.identity import Manifest
    from influence_store.protocols import Doubles

_STATS = "__dj__stats__"


def read(path: Path, manifest: Manifest) -> Read:
    """Points; `outputs` in the manifest picks and orders statistics, else all, by name."""
    if manifest.kind != "pointwise":
        raise Incompatible("data-juicer has one value per sample", hint='"kind": "pointwise"')
    rows = _rows(path)
    found = f"{path} holds {len(rows):,} rows"
    ids = manifest.axis("sample_ids", len(rows), found)
    known = sorted({name for row in rows for name in row})
    wanted = manifest.names("outputs") or known
    absent = sorted(set(wanted) - set(known))
    if absent or not known:
        raise InputError(
            f"{path} has no statistic {', '.join(absent) or 'at all'}",
            hint=f"known: {', '.join(known) or 'none; run data-juicer with export_stats'}",
        )
    numbers = {name for name in wanted if all(_is_number(row.get(name)) for row in rows)}
    dropped = {
        f"{name} is not one number per row": len(rows) for name in wanted if name not in numbers
    }
    if not numbers:
        raise InputError(f"{path}: no statistic is one number per row: {', '.join(wanted)}")
    columns = {manifest.output(name): _column(rows, name) for name in wanted if name in numbers}
    table, more = points(ids, columns)
    return Read(table, [path], {**dropped, **more})


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                # The standard parser, because data-juicer writes NaN where JSON has no number.
                stats = json.loads(line)[_STATS]
                stats = json.loads(stats) if isinstance(stats, str) else stats
            except (ValueError, KeyError, TypeError) as error:
                raise ReadError(
                    f"{path}:{number}",
                    f"no {_STATS}: {error!r}",
                    hint="name the *_stats.jsonl beside the export, or use keep_stats_in_res_ds",
                ) from error
            if not isinstance(stats, dict):
                raise ReadError(
                    f"{path}:{number}", f"{_STATS} is {stats!r:.40}, expected an object"
                )
            rows.append(stats)
    return rows


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _column(rows: list[dict[str, Any]], name: str) -> Doubles:
    return np.array([np.nan if row.get(name) is None else row[name] for row in rows], np.float64)
