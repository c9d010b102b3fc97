"""What survives a power cut? A model of a disk that loses everything nobody synced.

It replays the system calls of a traced process. Each file has the bytes that programs see and the
bytes that a sync has brought to the disk. Two kinds of disks, both of which POSIX allows, decide
which names a cut leaves:

strict      a name survives once its folder was synced, and the folders above it in theirs
journaled   any sync of anything brings all names to the disk (ext4: one journal for all). Content
            still needs its own sync: those files are there and empty. This is how a catalog comes
            to name a block that is zero bytes long (reliability.md §3.2: 6 of 6)

A killed process loses nothing of this: what programs saw before its next call is what is left.

Replaying to the end must give exactly the files that lie there: `differences` proves that the
trace missed nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from straced import Call

#: What must be traced for the model to be true.
CALLS = (
    "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,lseek,ftruncate,truncate,fallocate,"
    "copy_file_range,sendfile,rename,renameat,renameat2,link,linkat,symlink,symlinkat,"
    "unlink,unlinkat,mkdir,mkdirat,rmdir,fsync,fdatasync,sync_file_range,syncfs,sync"
)
SYNCS = ("fsync", "fdatasync")
KINDS = ("strict", "journaled")
#: Shared memory of SQLite: made anew after a crash, and never read before.
_VOLATILE = "-shm"
_SAME = {
    "openat": "open",
    "renameat": "rename",
    "renameat2": "rename",
    "linkat": "link",
    "unlinkat": "unlink",
    "mkdirat": "mkdir",
    "fdatasync": "fsync",
}


@dataclass
class File:
    """Bytes as programs see them, and as the last sync left them."""

    seen: bytearray = field(default_factory=bytearray)
    synced: bytes = b""


@dataclass(frozen=True)
class Cut:
    """The power fails here: what each kind of disk keeps, and what the witness had told before."""

    after: str
    trees: dict[str, dict[str, bytes]]
    witness: bytes


@dataclass(frozen=True)
class Kill:
    """The process dies here: what lies there, and what the witness had told before."""

    after: str
    folders: frozenset[str]
    tree: dict[str, bytes]
    witness: bytes


class Disk:
    """The files below `root`, all of them on the disk when the trace begins.

    `witness` is a file elsewhere whose writes are kept beside: what the process told meanwhile.
    """

    def __init__(self, root: Path, witness: Path) -> None:
        self._root, self._witness = root, str(witness)
        self._told = b""
        self._names: dict[str, File] = {}
        self._folders = {"."}
        for path in root.rglob("*"):
            name = path.relative_to(root).as_posix()
            if path.is_dir():
                self._folders.add(name)
            elif not name.endswith(_VOLATILE):
                content = path.read_bytes()
                self._names[name] = File(bytearray(content), content)
        self._kept = {kind: dict(self._names) for kind in KINDS}
        self._kept_folders = set(self._folders)
        self._offsets: dict[int, int] = {}

    def cuts(self, calls: Iterable[Call]) -> Iterator[Cut]:
        """A cut at the start, after every sync that brought something, and at the end."""
        yield Cut("nothing", self.survivors(), self._told)
        for call in calls:
            before = self.survivors() if call.name in SYNCS else {}
            self.apply(call)
            if call.name in SYNCS and self.survivors() != before:
                name = self._inside(call.path) or call.path
                yield Cut(f"{call.name} {name}", self.survivors(), self._told)
        yield Cut("everything", self.survivors(), self._told)

    def kills(self, calls: Iterable[Call]) -> Iterator[Kill]:
        """A kill at the start, and after every call that changed a name or a byte."""
        left = self._kill("nothing")
        yield left
        for call in calls:
            self.apply(call)
            then = self._kill(f"{call.name} {self._inside(call.path) or call.path}")
            if (then.folders, then.tree) != (left.folders, left.tree):
                left = then
                yield left

    def survivors(self) -> dict[str, dict[str, bytes]]:
        """The files that a cut leaves now, by kind of disk."""
        return {
            kind: {
                name: file.synced
                for name, file in self._kept[kind].items()
                if kind != "strict" or self._reachable(name)
            }
            for kind in KINDS
        }

    def _kill(self, after: str) -> Kill:
        tree = {name: bytes(file.seen) for name, file in self._names.items()}
        return Kill(after, frozenset(self._folders), tree, self._told)

    def differences(self) -> list[str]:
        """Files that are not there, or not so, as the model says: calls that it did not see."""
        there = {
            path.relative_to(self._root).as_posix(): path.read_bytes()
            for path in self._root.rglob("*")
            if path.is_file() and not path.name.endswith(_VOLATILE)
        }
        seen = {name: bytes(file.seen) for name, file in self._names.items()}
        return [name for name in {*there, *seen} if there.get(name) != seen.get(name)]

    def apply(self, call: Call) -> None:
        """One finished call; those that failed, or touch nothing of ours, change nothing."""
        if call.path == self._witness and call.name == "write":
            self._told += call.strings[0]
        if call.result < 0 or self._inside(call.result_path or call.path) is None:
            return
        handler = getattr(self, f"_{_SAME.get(call.name, call.name)}", None)
        if handler is None:
            raise NotImplementedError(f"{call.name} of {call.path}: the model does not know it")
        handler(call)

    # -- what each call does to names and bytes ------------------------------------------------

    def _open(self, call: Call) -> None:
        name = self._inside(call.result_path)
        self._offsets[call.result] = 0
        if name is None or name in self._folders or name.endswith(_VOLATILE):
            return
        if "O_CREAT" in call.text:
            self._names.setdefault(name, File())
        if "O_TRUNC" in call.text:
            self._names[name].seen.clear()
        if "O_APPEND" in call.text:
            raise NotImplementedError(f"{name} is opened for appending")

    def _lseek(self, call: Call) -> None:
        self._offsets[call.fd] = call.result

    def _write(self, call: Call) -> None:
        start = self._offsets.get(call.fd, 0)
        self._put(call, start)
        self._offsets[call.fd] = start + call.result

    def _pwrite64(self, call: Call) -> None:
        self._put(call, call.numbers[-1])

    def _put(self, call: Call, start: int) -> None:
        if (file := self._file(call.path)) is not None:
            file.seen.extend(bytes(max(0, start - len(file.seen))))
            file.seen[start : start + call.result] = call.strings[-1][: call.result]

    def _ftruncate(self, call: Call) -> None:
        if (file := self._file(call.path)) is not None:
            size = call.numbers[-1]
            del file.seen[size:]
            file.seen.extend(bytes(size - len(file.seen)))

    def _mkdir(self, call: Call) -> None:
        self._folders.add(self._name(call.strings[0]))

    def _rmdir(self, call: Call) -> None:
        self._forget_folder(self._name(call.strings[0]))

    def _rename(self, call: Call) -> None:
        source, target = map(self._name, call.strings)
        self._names[target] = self._names.pop(source)

    def _link(self, call: Call) -> None:
        source, target = map(self._name, call.strings)
        self._names[target] = self._names[source]

    def _unlink(self, call: Call) -> None:
        name = (f"{self._inside(call.fd_path)}/" if call.fd >= 0 else "") + self._name(
            call.strings[0], relative=call.fd >= 0
        )
        if "AT_REMOVEDIR" in call.text:
            self._forget_folder(name)
        elif not name.endswith(_VOLATILE):
            del self._names[name]

    def _fsync(self, call: Call) -> None:
        name = self._inside(call.path)
        assert name is not None
        if name in self._names:
            self._names[name].synced = bytes(self._names[name].seen)
        elif name in self._folders:
            self._sync_folder(name)
        self._kept["journaled"] = dict(self._names)

    def _sync_folder(self, folder: str) -> None:
        """Its names, and those of the folders in it, are now as programs see them."""
        kept = self._kept["strict"]
        for name in [name for name in kept if _parent(name) == folder]:
            del kept[name]
        kept |= {name: file for name, file in self._names.items() if _parent(name) == folder}
        self._kept_folders -= {one for one in self._kept_folders if _parent(one) == folder}
        self._kept_folders |= {one for one in self._folders if _parent(one) == folder} | {"."}

    # -- names ---------------------------------------------------------------------------------

    def _reachable(self, name: str) -> bool:
        return all(one.as_posix() in self._kept_folders for one in Path(name).parents)

    def _forget_folder(self, name: str) -> None:
        self._folders.discard(name)

    def _file(self, path: str) -> File | None:
        """None for what is not kept: shared memory, and files that have no name any more."""
        name = self._inside(path)
        return None if name is None or name.endswith(_VOLATILE) else self._names.get(name)

    def _name(self, path: bytes, *, relative: bool = False) -> str:
        text = path.decode()
        if relative and not text.startswith("/"):
            return text
        name = self._inside(text)
        assert name is not None, text
        return name

    def _inside(self, path: str) -> str | None:
        """Relative to the root; None outside."""
        if not path or not Path(path).is_relative_to(self._root):
            return None
        return Path(path).relative_to(self._root).as_posix()


def _parent(name: str) -> str:
    return Path(name).parent.as_posix() if name != "." else ""
