"""What does SQL vouch for, and what lies in the place? Read for verify, repair, gc and backup."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlmodel import col, select

from influence_store.schema.catalog import (
    Active,
    Artifact,
    Block,
    BlockFile,
    Dataset,
    DatasetVersion,
    Estimator,
    Producer,
    Run,
    Selection,
)
from influence_store.store.artifacts import path_of
from influence_store.store.location import CATALOG, MARKER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlmodel import Session

    from influence_store.store.storage import StoredFile
    from influence_store.store.store import Store

BALLAST, QUARANTINE, SCRATCH, CATALOGS = "ballast", "quarantine", "tmp", "catalogs"
#: A file of LanceDB that nobody reads who opens an exact version; it may say anything.
ADVISORY = "latest_version_hint.json"
_DATA = ("blocks", "objects")

Owner = Block | Artifact


@dataclass(frozen=True)
class Vouched:
    """A file as SQL knows it: path below the root, bytes, sha256, its block or artifact."""

    path: str
    size: int
    sha256: str
    owner: Owner


@dataclass(frozen=True)
class Held:
    """The catalog at one moment, as far as bytes matter; `blocks` are the live ones.

    `sources` is where to load a producer from, by dataset and producer.
    """

    blocks: list[Block]
    retired: list[Block]
    artifacts: list[Artifact]
    files: dict[str, Vouched]
    runs: dict[str, Run]
    versions: list[tuple[DatasetVersion, str]]
    producers: dict[int, Producer]
    selections: list[Selection]
    estimators: list[Estimator]
    sources: dict[tuple[str, int], str]

    def owners(self) -> dict[str, Owner]:
        """Live blocks and all artifacts by their `key`."""
        every: list[Owner] = [*self.blocks, *self.artifacts]
        return {key(owner): owner for owner in every}

    def files_by_owner(self) -> dict[str, list[Vouched]]:
        """The files of each, by the same keys."""
        found: dict[str, list[Vouched]] = {name: [] for name in self.owners()}
        for file in self.files.values():
            found[key(file.owner)].append(file)
        return found


@dataclass(frozen=True)
class Listing:
    """The files of a place by what they are.

    `folders` are the tables by path, `objects` by their sha256; `leftovers` is what a writer drops
    when it dies; `unknown` lies where only blocks and objects may, `foreign` anywhere else.
    """

    all: dict[str, StoredFile]
    folders: dict[str, list[StoredFile]]
    objects: dict[str, StoredFile]
    leftovers: list[StoredFile]
    unknown: list[StoredFile]
    foreign: list[StoredFile]


def key(owner: Owner) -> str:
    """The path of a block, the sha256 of an artifact."""
    return owner.path if isinstance(owner, Block) else owner.sha256


def held(store: Store) -> Held:
    """Read the catalog in one snapshot."""
    with store.database.read() as session:
        return _held(session)


def _held(session: Session) -> Held:
    every = session.exec(select(Block).order_by(col(Block.id))).all()
    blocks = {block.id: block for block in every}
    live = [block for block in every if block.retired_at is None]
    artifacts = list(session.exec(select(Artifact).order_by(Artifact.sha256)).all())
    files = [
        Vouched(f"{blocks[row.block_id].path}/{row.path}", row.size, row.sha256, block)
        for row in session.exec(select(BlockFile).order_by(col(BlockFile.id))).all()
        if (block := blocks[row.block_id]).retired_at is None
    ]
    files += [Vouched(path_of(row.sha256), row.size, row.sha256, row) for row in artifacts]
    names = {row.id: row.name for row in session.exec(select(Dataset)).all()}
    versions = session.exec(select(DatasetVersion).order_by(col(DatasetVersion.id))).all()
    return Held(
        blocks=live,
        retired=[block for block in every if block.retired_at is not None],
        artifacts=artifacts,
        files={file.path: file for file in files},
        runs={row.id: row for row in session.exec(select(Run)).all()},
        versions=[(row, names[row.dataset_id]) for row in versions],
        producers={row.id or 0: row for row in session.exec(select(Producer)).all()},
        selections=list(session.exec(select(Selection)).all()),
        estimators=list(session.exec(select(Estimator)).all()),
        sources={
            (names[row.dataset_id], row.producer_id): row.source
            for row in session.exec(select(Active)).all()
        },
    )


def listing(files: Iterable[StoredFile]) -> Listing:
    """Sort the files of a place by what their paths say they are."""
    found = Listing({}, defaultdict(list), {}, [], [], [])
    for file in files:
        found.all[file.path] = file
        first, name = file.path.partition("/")[0], file.path.rpartition("/")[2]
        if first in (MARKER, BALLAST, QUARANTINE, CATALOGS) or first.startswith(CATALOG):
            continue
        if first == SCRATCH or is_leftover(name):
            found.leftovers.append(file)
        elif folder := _table(file.path):
            found.folders[folder].append(file)
        elif first == "objects" and file.path == path_of(name):
            found.objects[name] = file
        elif first in _DATA:
            found.unknown.append(file)
        else:
            found.foreign.append(file)
    return found


def is_leftover(name: str) -> bool:
    """Is it the name of a file that was still being written?"""
    return name.endswith(".part") or name.startswith(".tmp") or ".manifest#" in name


def run_of(folder: str) -> str:
    """The run that wrote the table at `folder`."""
    return folder.rpartition("/")[2].partition("-")[0]


def _table(path: str) -> str | None:
    """The table that the file at `path` belongs to."""
    head, dot, _ = path.partition(".lance/")
    return head + ".lance" if dot and head.startswith("blocks/") else None
