"""`doctor`: are this machine, this place and this catalog fit to keep a store? One line each.

It works on stores that cannot be opened, and writes nothing but a probe that it removes.
"""

from __future__ import annotations

import os
import platform
import shutil
import uuid
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlmodel import col, select, update

from influence_store.embedding.provider import provider_used
from influence_store.errors import InfluenceStoreError, StorageError
from influence_store.jobs.gc import BALLAST_BYTES
from influence_store.jobs.inventory import BALLAST
from influence_store.output import plain
from influence_store.schema.catalog import REVISION, Run
from influence_store.store.local import LocalStorage
from influence_store.store.location import find
from influence_store.store.runs import is_alive
from influence_store.store.teams import OWNER, SUPERUSER, logins

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.store.location import Location
    from influence_store.store.storage import Storage
    from influence_store.store.teams import Logins

OK, WARN, FAIL = "OK", "WARN", "FAIL"
_PACKAGES = ("lancedb", "pylance", "duckdb", "pyarrow", "onnxruntime-gpu", "onnxruntime", "torch")
#: File systems that lie elsewhere: SQLite's locks and syncs cannot be trusted there.
_NETWORK = {
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "smb2", "9p", "afs", "ceph", "glusterfs"),
    *("fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "lustre", "beegfs", "gpfs"),
}
_SKEW_SECONDS = 60.0
_ASK_AGAIN = "check the disk and the rights of this user, then: influence-store doctor"
_FREE_BYTES = 1 << 30


@dataclass(frozen=True)
class Finding:
    """The answer to one question: OK, WARN or FAIL, what was found, and what to do about it."""

    level: str
    about: str
    found: str
    do: str = ""


@dataclass(frozen=True)
class DoctorReport:
    """All answers, in the order in which they were asked."""

    store: str
    findings: list[Finding]

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return {**asdict(self), "fit": not self._failed()}

    def lines(self) -> list[str]:
        """For people."""
        told = []
        for one in self.findings:
            told.append(f"{one.level:4}  {one.about}: {plain(one.found)}")
            if one.do and one.level != OK:
                told.append(f"      → {one.do}")
        return told

    def check(self) -> None:
        """StorageError if anything failed."""
        if failed := self._failed():
            raise StorageError(
                f"{len(failed)} of {len(self.findings)} checks failed: "
                f"{', '.join(one.about for one in failed)}",
                hint=failed[0].do,
            )

    def _failed(self) -> list[Finding]:
        return [one for one in self.findings if one.level == FAIL]


def doctor(uri: str, database: str | None = None) -> DoctorReport:
    """Ask everything; what goes wrong is an answer, not an exception."""
    findings = [*_versions(), *_provider()]
    with _noted(findings, "store", "name the right one: --store"):
        location = find(uri, database, any_revision=True)
        findings.append(Finding(OK, "store", location.uri))
        for about, ask in (
            ("place", _place),
            ("file system", _file_system),
            ("space", _space),
            ("schema", _schema),
            ("catalog", _catalog),
            ("teams", _teams),
            ("clocks", _clocks),
            ("runs", _runs),
            ("ballast", _ballast),
        ):
            with _noted(findings, about, _ASK_AGAIN):
                findings += ask(location)
        location.database.close()
    return DoctorReport(str(uri), findings)


@contextmanager
def _noted(findings: list[Finding], about: str, do: str) -> Iterator[None]:
    """Errors that we raise on purpose become answers."""
    try:
        yield
    except InfluenceStoreError as error:
        told = str(error).splitlines()[0]
        findings.append(Finding(FAIL, about, told, error.hint or do))


def network_file_system(path: Path, mounts: str | None = None) -> str | None:
    """The type of the network file system that `path` lies on; None on a local disk.

    `mounts` is the text of /proc/mounts; where there is no such file nobody knows: None.
    """
    if mounts is None:
        table = Path("/proc/mounts")
        mounts = table.read_text() if table.exists() else ""
    best, kind = "", None
    for line in mounts.splitlines():
        _, mounted, type_, *_ = line.split(" ")
        folder = mounted.encode().decode("unicode_escape")
        # Of two mounts on one folder the later one counts.
        if Path(path).is_relative_to(folder) and len(folder) >= len(best):
            best, kind = folder, type_
    return kind if kind in _NETWORK else None


def _versions() -> Iterator[Finding]:
    found = {name: told for name in _PACKAGES if (told := _installed(name))}
    packages = ", ".join(f"{name} {told}" for name, told in found.items())
    yield Finding(OK, "versions", f"python {platform.python_version()}, {packages}")
    for line in requires("influence-store") or ():
        name, pinned, wanted = line.partition("==")
        if pinned and name in ("lancedb", "pylance") and found.get(name) != wanted:
            told = f"{name} {found.get(name, 'is missing')}, this program was tested with {wanted}"
            yield Finding(FAIL, "versions", told, f"pip install {name}=={wanted}")


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _provider() -> Iterator[Finding]:
    used = provider_used()
    if not _installed("onnxruntime-gpu") or used.on_gpu:
        yield Finding(OK, "ONNX Runtime", f"computes with {used.name}")
        return
    told = f"THE GPU PACKAGE COMPUTES ON THE CPU ({used.name}): "
    if used.machine_has_gpu:
        yield Finding(
            WARN,
            "ONNX Runtime",
            f"{told}there is a GPU, but it is not used",
            "install CUDA 12 with cuDNN 9, or check nvidia-smi; embedding and fill are much slower",
        )
    else:
        yield Finding(
            WARN,
            "ONNX Runtime",
            f"{told}this machine shows no NVIDIA device",
            "nothing, if it has none",
        )


def _place(location: Location) -> Iterator[Finding]:
    location.storage.probe()
    yield Finding(OK, "place", "can be written, and only one of two writers gets a new name")
    if isinstance(location.storage, LocalStorage):
        mode = location.storage.root.stat().st_mode
        if mode & 0o002:
            yield Finding(
                WARN, "place", "everybody on this machine may write", f"chmod o-w {location.uri}"
            )


def _file_system(location: Location) -> Iterator[Finding]:
    if not isinstance(location.storage, LocalStorage):
        yield Finding(OK, "file system", "object storage")
        return
    kind = network_file_system(location.storage.root.resolve())
    if kind is None:
        yield Finding(OK, "file system", "a local disk")
    elif location.database.is_postgres:
        told = f"the blocks are on {kind}: nothing is promised after a power cut"
        yield Finding(WARN, "file system", told, "keep them on a local disk, or in a bucket")
    else:
        told = f"the SQLite catalog is on {kind}, where its locks do not hold: it can be destroyed"
        yield Finding(
            FAIL,
            "file system",
            told,
            "move the store to a local disk, or its catalog to PostgreSQL: backup, then restore",
        )


def _space(location: Location) -> Iterator[Finding]:
    if not isinstance(location.storage, LocalStorage):
        return
    free = shutil.disk_usage(location.storage.root).free
    told = f"{free:,} bytes free"
    if free < BALLAST_BYTES:
        yield Finding(FAIL, "space", told, "free some space, then: influence-store gc --yes")
    elif free < _FREE_BYTES:
        yield Finding(WARN, "space", told, "influence-store gc --yes, or a larger disk")
    else:
        yield Finding(OK, "space", told)
    inodes = os.statvfs(location.storage.root)
    # Some file systems have no fixed number of them, and say 0.
    if inodes.f_files and inodes.f_favail < 10_000:
        told = f"{inodes.f_favail:,} files can still be made"
        yield Finding(
            WARN, "space", told, "influence-store compact, then: influence-store gc --yes"
        )


def _schema(location: Location) -> Iterator[Finding]:
    location.database.check_revision()
    yield Finding(OK, "schema", f"revision {REVISION}")


def _catalog(location: Location) -> Iterator[Finding]:
    """Does it belong here, and does it take writes?"""
    find(location.uri, location.database.url).database.close()
    # Changes no row, but asks for the right to change some.
    nothing = update(Run).where(col(Run.id) == "").values(state="")
    location.database.write(lambda session: session.exec(nothing))
    kind = "PostgreSQL" if location.database.is_postgres else "SQLite"
    yield Finding(OK, "catalog", f"{kind}, belongs to this place and can be written")


def _teams(location: Location) -> Iterator[Finding]:
    """Whose rows does this login work with, and whom does row-level security not hold back?"""
    found = logins(location.database)
    if found is None:
        return
    yield _whose_rows(found)
    if found.teams:
        told = (
            f"{team} ({', '.join(people) or 'no login'})" for team, people in found.teams.items()
        )
        yield Finding(OK, "teams", f"let in, with their logins: {', '.join(told)}")
    free = ", ".join(f"{login} {why}" for login, why in found.unbound.items())
    # Superusers and the owner can always read everything, as docs/postgres.md says.
    if set(found.unbound.values()) <= {SUPERUSER, OWNER}:
        yield Finding(OK, "logins", f"seeing the rows of every team: {free or 'none'}")
    else:
        yield Finding(
            WARN,
            "logins",
            f"not held back by row-level security: {free}",
            "alter role NAME nobypassrls, or revoke its rights on the tables, also from PUBLIC",
        )


def _whose_rows(found: Logins) -> Finding:
    role, why = found.role, found.unbound.get(found.role, "is in no team")
    if role in found.teams:
        return Finding(OK, "team", f"this login works as {role}")
    if not found.teams:
        return Finding(OK, "team", f"this login works as {role}; no team was let in yet")
    mine = [team for team, people in found.teams.items() if role in people]
    if mine:
        return Finding(
            WARN,
            "team",
            f"{role} is a member of {', '.join(mine)}, but works apart, with rows of its own",
            f"add ?options=-crole%3D{mine[0]} to the address of the database",
        )
    if why == OWNER:
        return Finding(OK, "team", f"{role} owns the tables: it lets teams in, and is none")
    return Finding(
        WARN,
        "team",
        f"{role} {why}: it mixes the rows of all teams",
        "log in as a team, or add ?options=-crole%3DTEAM to the address of the database",
    )


def _clocks(location: Location) -> Iterator[Finding]:
    with location.database.read() as session:
        now = location.database.now(session)
    skew = _written_at(location.storage) - now
    told = f"the place is {round(skew):+d} s against the catalog"
    if abs(skew) < _SKEW_SECONDS:
        yield Finding(OK, "clocks", told)
    else:
        yield Finding(WARN, "clocks", told, "set both clocks; gc judges leftovers by their age")


def _written_at(storage: Storage) -> float:
    """The time that the place gives to a file that is written now."""
    path = f"tmp/clock-{uuid.uuid4().hex}"
    try:
        storage.put(path, b"")
        (file,) = [one for one in storage.files("tmp") if one.path == path]
        return file.modified
    finally:
        storage.delete([path])


def _runs(location: Location) -> Iterator[Finding]:
    with location.database.read() as session:
        now = location.database.now(session)
        writing = session.exec(select(Run).where(Run.state == "writing")).all()
    dead = [run for run in writing if not is_alive(run, now)]
    told = f"{len(writing) - len(dead)} at work"
    if dead:
        names = ", ".join(sorted({run.scope for run in dead})[:5])
        told += f", {len(dead)} died: {names}"
        yield Finding(WARN, "runs", told, "run their commands again, or: influence-store gc --yes")
    else:
        yield Finding(OK, "runs", told)


def _ballast(location: Location) -> Iterator[Finding]:
    if location.database.is_postgres:
        return
    if location.storage.exists(BALLAST):
        yield Finding(OK, "ballast", "there is room for gc even on a full disk")
    else:
        told = "none: on a full disk gc could not work"
        yield Finding(WARN, "ballast", told, "influence-store gc --yes makes it")
