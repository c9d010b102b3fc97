"""`report --atlas`: the samples and their places, handed over to Embedding Atlas to walk about in.

Its own export makes a folder of static files (github.com/apple/embedding-atlas). It gets places
that were computed here, from stored embeddings: no model runs, and nothing is downloaded.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from influence_store.counted import counted
from influence_store.errors import MissingExtra, StorageError, UsageError
from influence_store.jobs.embed import embedder_of
from influence_store.jobs.report_map import components
from influence_store.jobs.report_selection import selection_of
from influence_store.query.views import views

if TYPE_CHECKING:
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

_MODULE = "embedding_atlas"
_ARGUMENTS = ("--x", "x", "--y", "y", "--text", "prompt", "--disable-projection")


@dataclass(frozen=True)
class AtlasFolder:
    """Where the pages lie and how many samples they show."""

    path: str
    samples: int

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return dict(vars(self))

    def lines(self) -> list[str]:
        """For people: it must be served, a browser does not run it from a disk."""
        return [
            f"atlas of {counted(self.samples, 'sample')}: {self.path}",
            f"  see it: python -m http.server --bind 127.0.0.1 --directory {self.path}",
        ]


def check_atlas(out: Path) -> None:
    """MissingExtra without Embedding Atlas, UsageError if something is at `out`."""
    if find_spec(_MODULE) is None:
        raise MissingExtra(
            f"{_MODULE} is not installed", hint="pip install 'influence-store[atlas]'"
        )
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"{out} is there already", hint="name a new folder for --atlas")


def atlas(store: Store, version: Version, out: Path, *, selection: str | None) -> AtlasFolder:
    """Write the pages to the new folder `out`; see `check_atlas`.

    UsageError if no embedder has a vector for every row, StorageError if the export fails.
    """
    check_atlas(out)
    frame = _samples(store, version, selection)
    part = out.with_name(f"{out.name}.part")
    with TemporaryDirectory() as here:
        data = Path(here, "samples.parquet")
        frame.write_parquet(data)
        command = [sys.executable, "-m", f"{_MODULE}.cli", str(data), *_ARGUMENTS]
        done = subprocess.run(
            [*command, "--export-application", str(part)],
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        if done.returncode or not (part / "index.html").is_file():
            last = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()[-1]
            raise StorageError(f"{_MODULE} made no pages: {last}", hint="the report is written")
        if out.is_dir():
            out.rmdir()
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return AtlasFolder(str(out), frame.height)


def _samples(store: Store, version: Version, selection: str | None) -> pl.DataFrame:
    """A row per sample: texts, columns of influence, place, and its rank in the selection."""
    embedder = embedder_of(store, version)
    if embedder is None:
        raise UsageError(
            f"no embedder has a vector for every row of {version}: there is nothing to map",
            hint=f"run: influence-store embed {version} --embedder EMBEDDER",
        )
    view = views(store)[str(version)]
    columns = [one for one in view.columns if one not in ("system", "extra")]
    frame = pl.DataFrame(pl.from_arrow(view.build(columns, None)))
    places, _ = components(store.vectors(embedder, version.sids))
    rank = np.full(len(version.sids), -1)
    if (chosen := selection_of(store, version, selection)) is not None:
        where = {sid: k for k, sid in enumerate(version.sids.tolist())}
        for k, sid in enumerate(chosen.sids.tolist()):
            if sid in where:
                rank[where[sid]] = k + 1
    return frame.with_columns(
        pl.Series("x", places[:, 0]),
        pl.Series("y", places[:, 1]),
        pl.Series("selected", rank > 0),
        pl.Series("rank", rank).replace(-1, None),
    )
