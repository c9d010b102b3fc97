"""`export`: a stored selection in a trainer's own format, each row leading back to its line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from pyroaring import BitMap

from influence_store.counted import counted
from influence_store.exporters import EXPORTERS
from influence_store.exporters.bundle import LEFT_OUT, MANIFEST, ExportRow
from influence_store.jobs.samples import read_samples
from influence_store.store.selections import find_selection
from influence_store.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.schema.catalog import Selection
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

_CHUNK_ROWS = 4096
_STANZA_LINES = 6


@dataclass(frozen=True)
class ExportReport:
    """Where the export lies, how many rows it holds, and what to paste into the trainer."""

    selection: str
    format: str
    path: str
    rows: int
    left_out: int
    usage_file: str
    usage: str

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return dict(vars(self))

    def lines(self) -> list[str]:
        """For people: of the stanza only the first lines."""
        rows = counted(self.rows, "row")
        told = [f"{rows} of selection {self.selection} as {self.format}: {self.path}"]
        if self.left_out:
            told.append(
                f"left out, for the format cannot hold them: {self.left_out:,}; by file, line "
                f"and reason: {Path(self.path) / LEFT_OUT}"
            )
        stanza = self.usage.splitlines()
        told.append(f"to paste: {Path(self.path) / self.usage_file}")
        told += [f"  {line}".rstrip() for line in stanza[:_STANZA_LINES]]
        return told + (["  …"] if len(stanza) > _STANZA_LINES else [])


def export(
    store: Store, selection: str, form: str, out: Path, *, overwrite: bool = False
) -> ExportReport:
    """Write the selection (an id or its unique beginning) to the folder `out`, in rank order."""
    exporter = EXPORTERS.get(form)
    row = find_selection(store.database, selection)
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
    manifest = orjson.loads((out / MANIFEST).read_bytes())
    told = {key: manifest[key] for key in ("rows", "left_out", "usage_file", "usage")}
    return ExportReport(row.id, form, str(out), **told)


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
