"""`export`: a stored selection in a trainer's own format, each row leading back to its line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyroaring import BitMap
from sqlmodel import select

from influence_store.errors import NotFound
from influence_store.exporters import EXPORTERS
from influence_store.exporters.bundle import ExportRow
from influence_store.jobs.samples import read_samples
from influence_store.schema.catalog import Selection
from influence_store.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from influence_store.store.store import Store
    from influence_store.store.versions import Version

_CHUNK_ROWS = 4096


@dataclass(frozen=True)
class ExportReport:
    """Where the export lies and how many rows it holds."""

    selection: str
    format: str
    path: str
    rows: int

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return dict(vars(self))

    def lines(self) -> list[str]:
        """For people."""
        return [f"{self.rows:,} rows of selection {self.selection} as {self.format}: {self.path}"]


def export(
    store: Store, selection: str, form: str, out: Path, *, overwrite: bool = False
) -> ExportReport:
    """Write the selection (an id or its unique beginning) to the folder `out`, in rank order."""
    exporter = EXPORTERS.get(form)
    row = find_selection(store, selection)
    version = store.version_by_id(row.dataset_version_id)
    provenance = {
        "dataset": version.dataset,
        "version": version.number,
        "selection": row.id,
        "objective": row.objective,
        "kernel": row.kernel,
        "tool": f"influence-store {__version__}",
        **row.facts["inputs"],
    }
    exporter(_rows(store, row, version), out, provenance, overwrite=overwrite)
    return ExportReport(row.id, form, str(out), row.n_items)


def find_selection(store: Store, name: str) -> Selection:
    """The stored selection whose id begins with `name`."""
    with store.database.read() as session:
        rows = list(session.exec(select(Selection)).all())
    fitting = [row for row in rows if name and row.id.startswith(name)]
    if len(fitting) != 1:
        known = [row.id for row in rows]
        raise NotFound.named(
            "selection", name, known, hint="see: influence-store query 'select * from selections'"
        )
    return fitting[0]


def _rows(store: Store, row: Selection, version: Version) -> Iterator[ExportRow]:
    """In rank order, a few thousand texts in memory at a time."""
    block = [one for one in store.blocks("selection") if one.id == row.block_id]
    batches = store.scan(block, ["rank", "sid", "gain"])
    items = sorted(
        (item for batch in batches for item in batch.to_pylist()), key=lambda item: item["rank"]
    )
    origins = store.blocks("rows", dataset_id=version.dataset_id)
    for k in range(0, len(items), _CHUNK_ROWS):
        part = items[k : k + _CHUNK_ROWS]
        wanted = BitMap([item["sid"] for item in part])
        sids, samples = read_samples(store, wanted)
        texts = dict(zip(sids.tolist(), samples, strict=True))
        ids: dict[int, bytes] = {}
        for batch in store.scan(store.blocks("samples"), ["sid", "sample_id"], wanted):
            ids.update({one["sid"]: one["sample_id"] for one in batch.to_pylist()})
        origin: dict[int, dict[str, Any]] = {}
        for batch in store.scan(origins, ["sid", "file", "line", "raw"], wanted):
            for one in batch.to_pylist():
                origin.setdefault(one["sid"], one)
        for item in part:
            sid = item["sid"]
            yield ExportRow(
                rank=item["rank"],
                sample_id=ids[sid].hex(),
                sample=texts[sid],
                raw=origin[sid]["raw"],
                file=origin[sid]["file"],
                line=origin[sid]["line"],
                gain=item["gain"],
            )
