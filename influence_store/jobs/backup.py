"""`backup`: a whole copy of a store in another place, made while others work, made again cheaply.

catalog first, as it is at one moment → every file that it names, hash by hash → verify the copy →
`backup.json`, which makes it the backup → drop what only an earlier backup needed

Killed before `backup.json`, the earlier backup is still whole: files are only added until then.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import orjson

from influence_store.counted import counted
from influence_store.errors import Incompatible, IntegrityError, NotFound, UsageError
from influence_store.jobs.catalog_copy import sealed, snapshot
from influence_store.jobs.inventory import ADVISORY, CATALOGS, held
from influence_store.jobs.verify_store import verify_store
from influence_store.progress import progress
from influence_store.store.database import Database
from influence_store.store.faults import step
from influence_store.store.location import Location, storage_at
from influence_store.store.store import Store
from influence_store.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from influence_store.jobs.inventory import Vouched
    from influence_store.store.storage import Storage

SEAL = "backup.json"
_FORMAT = 1
_OWN = {SEAL, CATALOGS, "blocks", "objects"}


@dataclass(frozen=True)
class Seal:
    """What `backup.json` says: of which store, when (its clock), and which catalog it means."""

    format: int
    store: str
    source: str
    made_at: float
    tool_version: str
    catalog: str  # sha256 of catalogs/<sha256>.sqlite
    files: int
    bytes: int


@dataclass(frozen=True)
class Copied:
    """Files that were brought, and those that were there with the right bytes."""

    files: int
    bytes: int
    kept_files: int
    kept_bytes: int


@dataclass(frozen=True)
class BackupReport:
    """Where the backup is and what it cost to bring it up to date."""

    store: str
    to: str
    made_at: float
    copied: Copied
    removed_files: int

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        copied = self.copied
        return [
            f"{self.to} is a backup of {self.store}, verified",
            f"  {counted(copied.files, 'file')} copied ({copied.bytes:,} bytes), "
            f"{copied.kept_files:,} were there ({copied.kept_bytes:,} bytes), "
            f"{self.removed_files:,} removed",
            f"  get it back: influence-store --store NEW restore {self.to}",
        ]


def backup(store: Store, to: str | Path) -> BackupReport:
    """Bring the backup in the place `to` up to date, or make one there; writers go on meanwhile.

    UsageError if the place holds something else, IntegrityError if the store is damaged: the
    earlier backup then stays as it was.
    """
    target = storage_at(to)
    store_id = store.database.store_id()
    _check_place(target, store_id)
    target.probe()
    params = {"to": target.uri}
    with store.claim("backup", f"backup:{target.uri}", params) as run, TemporaryDirectory() as here:
        path = Path(here, "catalog.sqlite")
        catalog = snapshot(store.database, path)
        step("backup-snapshot")
        with catalog.read() as session:
            made_at = store.database.now(session)
        copy = Store(Location(target.uri, target, catalog), __version__)
        files = list(held(copy).files.values())
        copied = transfer(store.storage, target, files)
        step("backup-copied")
        verify_store(copy).check()
        run.publish([])  # Fenced if gc may have thought us dead
        content = sealed(catalog, path)
        name = hashlib.sha256(content).hexdigest()
        target.put(f"{CATALOGS}/{name}.sqlite", content)
        step("backup-catalog")
        total = sum(file.size for file in files)
        seal = Seal(_FORMAT, store_id, store.uri, made_at, __version__, name, len(files), total)
        target.put(SEAL, orjson.dumps(asdict(seal), option=orjson.OPT_INDENT_2))
        step("backup-sealed")
        report = BackupReport(
            store.uri, target.uri, made_at, copied, _drop_others(target, files, name)
        )
        run.report(report.facts(), {"bytes": copied.bytes})
    return report


@dataclass(frozen=True)
class BackupPlan:
    """What a backup would bring, judged by names and sizes; hashes are compared when it is made."""

    store: str
    to: str
    files: int
    bytes: int
    kept_files: int

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"{self.store} to {self.to}: {self.files:,} files to copy ({self.bytes:,} bytes), "
            f"{self.kept_files:,} are there"
        ]


def plan_backup(store: Store, to: str | Path) -> BackupPlan:
    """What `backup` would copy; UsageError if the place holds something else."""
    target = storage_at(to)
    _check_place(target, store.database.store_id())
    there = {file.path: file.size for file in target.files()}
    wanted = held(store).files.values()
    lacking = [file.size for file in wanted if there.get(file.path) != file.size]
    kept = len(wanted) - len(lacking)
    return BackupPlan(store.uri, target.uri, len(lacking), sum(lacking), kept)


def transfer(source: Storage, target: Storage, files: Iterable[Vouched]) -> Copied:
    """Copy what `target` lacks; every byte is compared with what SQL vouches for.

    IntegrityError names files that neither place has right.
    """
    there = {file.path: file.size for file in target.files()}
    counts, damaged = [0, 0, 0, 0], []
    wanted = list(files)
    with progress("copying", len(wanted), "files") as advance:
        for file in wanted:
            advance()
            if there.get(file.path) == file.size and _has(target, file):
                counts[2:] = counts[2] + 1, counts[3] + file.size
                continue
            content = _read(source, file)
            if content is None:
                damaged.append(file.path)
                continue
            target.put(file.path, content)
            counts[:2] = counts[0] + 1, counts[1] + file.size
    if damaged:
        more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        raise IntegrityError(
            f"{damaged[0]}{more} of {source.uri} is missing or damaged, nothing was sealed",
            hint="see: influence-store verify --deep",
        )
    return Copied(*counts)


@contextmanager
def opened(uri: str | Path) -> Iterator[tuple[Seal, Store]]:
    """The backup at `uri` as a store that can be read; NotFound if there is none.

    Its catalog is brought to the schema of this program, in a temporary copy.
    """
    place = storage_at(uri)
    seal = _seal(place)
    if seal is None:
        raise NotFound(
            f"there is no backup at {place.uri}", hint="a backup is a folder with a backup.json"
        )
    content = place.read(f"{CATALOGS}/{seal.catalog}.sqlite")
    if hashlib.sha256(content).hexdigest() != seal.catalog:
        raise IntegrityError(
            f"the catalog of the backup at {place.uri} was changed after it was made",
            hint="use another backup",
        )
    with TemporaryDirectory() as here:
        path = Path(here, "catalog.sqlite")
        path.write_bytes(content)
        catalog = Database(f"sqlite:///{path}")
        try:
            catalog.migrate()
            yield seal, Store(Location(place.uri, place, catalog), __version__)
        finally:
            catalog.close()


def _has(place: Storage, file: Vouched) -> bool:
    with place.stream(file.path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256


def _read(place: Storage, file: Vouched) -> bytes | None:
    """The right bytes, or none."""
    try:
        content = place.read(file.path)
    except NotFound:
        return None
    right = hashlib.sha256(content).hexdigest() == file.sha256
    return content if right or file.path.endswith(ADVISORY) else None


def _check_place(place: Storage, store: str) -> None:
    """Nothing there, what a killed backup left, or a backup of this very store."""
    seal = _seal(place)
    if seal is not None and seal.store != store:
        raise UsageError(
            f"{place.uri} is a backup of another store ({seal.source})", hint="choose a new folder"
        )
    for file in place.files():
        if file.path.partition("/")[0] not in _OWN | {"tmp"}:
            raise UsageError(
                f"{place.uri} holds {file.path}, which is no part of a backup",
                hint="choose a new folder",
            )


def _seal(place: Storage) -> Seal | None:
    try:
        told = orjson.loads(place.read(SEAL))
        if told["format"] > _FORMAT:
            raise Incompatible(
                f"the backup at {place.uri} has format {told['format']}, this program knows "
                f"{_FORMAT}",
                hint="upgrade influence-store",
            )
        return Seal(**told)
    except NotFound:
        return None
    except (orjson.JSONDecodeError, TypeError, KeyError) as error:
        raise IntegrityError(f"{place.uri}/{SEAL} cannot be read: {error}") from error


def _drop_others(place: Storage, files: Iterable[Vouched], catalog: str) -> int:
    """What only earlier backups named; nothing names it now."""
    wanted = {SEAL, f"{CATALOGS}/{catalog}.sqlite", *(file.path for file in files)}
    others = [file.path for file in place.files() if file.path not in wanted]
    place.delete(others)
    return len(others)
