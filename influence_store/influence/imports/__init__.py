"""Which scores that somebody else computed can become facts here, and from which file?

A number is worth keeping only with its identity: which method, model, template, limits, seed and
rows it belongs to. Score files do not say that, so a manifest beside them must (`identity.py`);
scores without it are refused. Nothing in a file is ever executed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from influence_store.errors import Incompatible, NotFound
from influence_store.influence.imports.identity import read_manifest
from influence_store.influence.imports.scores import Imported
from influence_store.protocols import InfluenceSpec
from influence_store.registry import Entry, Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from influence_store.influence.imports.identity import Manifest
    from influence_store.influence.imports.scores import Read

_HERE = "influence_store.influence.imports"
#: Of our own reading: a change that changes values makes another producer.
_VERSION = 1


@dataclass(frozen=True)
class Format(Entry):
    """An entry that also says whether its files name their rows, so that a manifest need not."""

    names_rows: bool = False


FORMATS = Registry(
    "score format",
    "influence_store.score_formats",
    {
        "less": Format(
            f"{_HERE}.less:read", "LESS: influence scores or gradient stores in .pt files", "train"
        ),
        "bergson": Format(
            f"{_HERE}.bergson:read", "bergson: a folder with scores.bin, or gradient stores"
        ),
        "dattri": Format(
            f"{_HERE}.dattri:read", "dattri: what attribute() gave, saved as .pt or .npy", "train"
        ),
        "kronfluence": Format(
            f"{_HERE}.kronfluence:read", "Kronfluence: pairwise or self scores", "train"
        ),
        "data-juicer": Format(
            f"{_HERE}.data_juicer:read", "data-juicer: the numbers of its filters in JSON lines"
        ),
        "parquet": Format(
            f"{_HERE}.parquet:read", "a table that names the sample ids of its values", "", True
        ),
    },
)


def read_scores(
    path: str | Path,
    format: str,
    manifest: str | Path | Mapping[str, Any] | None = None,
    *,
    rows_of: Callable[[Path], Sequence[bytes]] | None = None,
) -> Imported:
    """Read a file or folder of scores with its identity; rows are targets, columns sources.

    `manifest` is a JSON file, its content, or None for `<path>.manifest.json` or `manifest.json`
    beside the scores. `rows_of` gives the sample ids of the rows of a data file, in their order;
    without it, a manifest must name ids. NotFound, InputError, MissingExtra, or Incompatible
    where a file holds something that one number per sample or pair cannot say.
    """
    where = Path(path)
    if not where.exists():
        raise NotFound(f"no file or folder {where}", hint="ls the path")
    read = FORMATS.get(format)
    names_rows = getattr(FORMATS.entries()[format], "names_rows", False)
    told = read_manifest(where, manifest, axes=not names_rows, rows_of=rows_of)
    return _imported(format, told, read(where, told))


def _imported(format: str, told: Manifest, read: Read) -> Imported:
    table = read.table
    if told.kind != table.kind:
        raise Incompatible(
            f"the manifest says {told.kind}, format {format} gives {table.kind} values here",
            hint=f'write "kind": "{table.kind}", or choose another --format',
        )
    outputs = tuple(table.outputs) or (told.method,)
    spec = InfluenceSpec(
        name=told.method,
        outputs=outputs,
        higher_means=told.higher_means,
        paper=told.text("paper") or "",
        kind=told.kind,
        needs=(),
    )
    imported = {
        "format": format,
        "version": _VERSION,
        "outputs": list(outputs),
        "files": [_sha256(file) for file in read.files],
        # The same file with its rows named in another order is another set of facts.
        "rows": [hashlib.sha256(b"".join(ids)).hexdigest() for ids in table.axes],
    }
    facts = {**told.facts, "imported": imported}
    return Imported(spec, facts, -table if told.harmful else table, dict(read.dropped))


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
