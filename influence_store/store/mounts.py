"""Is this folder on a network disk? SQLite needs locks and shared memory that only a local one has.

Over NFS or SMB two machines can both believe that they hold the catalog's lock, and what is synced
may not be on a disk. The kernel's table of mounts tells; where there is none (other systems than
Linux) nothing is refused.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from influence_store.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Set by whoever knows that only one machine ever opens the store.
VARIABLE = "INFLUENCE_STORE_NETWORK_DISK"

_TABLE = Path("/proc/self/mountinfo")
# fmt: off
_NETWORK = frozenset((
    "nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "ncpfs", "afs", "ceph", "glusterfs",
    "lustre", "gpfs", "beegfs", "davfs", "fuse.ceph", "fuse.davfs2", "fuse.gcsfuse",
    "fuse.glusterfs", "fuse.goofys", "fuse.mount-s3", "fuse.rclone", "fuse.s3fs", "fuse.sshfs",
))
# fmt: on
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """A line of the table: where, which kind of file system, and of what."""

    point: Path
    kind: str
    source: str


def refuse_network_disk(folder: Path) -> None:
    """UsageError if `folder` (existing or not) is on a network disk and nobody insists."""
    if os.environ.get(VARIABLE) == "1":
        return
    found = network_mount(folder, mounts())
    if found is not None:
        raise UsageError(
            f"{folder} is on a network disk ({found.kind}, {found.source}), where SQLite can lose "
            "the catalog",
            hint="keep the store on a local disk, or its catalog in PostgreSQL: init --database "
            f"postgresql+psycopg://…; if no other machine opens it: {VARIABLE}=1",
        )


def network_mount(folder: Path, table: Iterable[Mount]) -> Mount | None:
    """The mount that `folder` lies on, if it is one of a network disk."""
    real = Path(os.path.realpath(folder))
    holding = [mount for mount in table if real.is_relative_to(mount.point)]
    # The innermost mount counts; of two on one point, the later one covers the earlier.
    innermost = max(
        enumerate(holding), key=lambda one: (len(one[1].point.parts), one[0]), default=None
    )
    return innermost[1] if innermost and innermost[1].kind in _NETWORK else None


def mounts(table: str | None = None) -> list[Mount]:
    """What `table` (proc(5), mountinfo) says; by default that of this process."""
    if table is None:
        table = _TABLE.read_text(errors="surrogateescape") if _TABLE.exists() else ""
    found = []
    for line in table.split("\n"):
        before, dash, after = line.partition(" - ")
        if dash:
            kind, source, *_ = after.split(" ")
            found.append(Mount(Path(_plain(before.split(" ")[4])), kind, _plain(source)))
    return found


def _plain(text: str) -> str:
    return _OCTAL.sub(lambda digits: chr(int(digits[1], 8)), text)
