"""Every error this package raises on purpose, grouped by who can mend it.

InfluenceStoreError
├── UsageError            exit 2   you: the command or call was wrong
├── InputError            exit 3   you: the data is wrong
│   └── ReadError                  … at a named file and line
├── NotFound              exit 4   you: the name does not exist (nearest names are shown)
├── Busy                  exit 5   wait: another run holds this work
├── Fenced                exit 5   nobody: this run was taken over and must stop
├── StorageError          exit 6   the machine: disk, network, database
├── IntegrityError        exit 7   the store: bytes differ from what SQL vouches for
├── Incompatible          exit 8   you: embedder, estimator, schema or format do not fit
│   └── MissingExtra               … an optional package is not installed
└── Forbidden             exit 9   the owner: not allowed

A message has three parts: what was found, what was expected, and the next command to type.
Misuse of the Python API stays ValueError or TypeError.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


class InfluenceStoreError(Exception):
    """Base of all errors below; carries the exit code of the command line."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message}\n  {hint}" if hint else message)
        self.hint = hint


class UsageError(InfluenceStoreError):
    """The command line or configuration asks for something that makes no sense."""

    exit_code = 2


class InputError(InfluenceStoreError):
    """Data handed in is not what it must be."""

    exit_code = 3


class ReadError(InputError):
    """One record of an input file is wrong; `where` is `file:line`."""

    def __init__(self, where: str, reason: str, *, hint: str = "") -> None:
        super().__init__(f"{where}: {reason}", hint=hint)
        self.where = where
        self.reason = reason


class NotFound(InfluenceStoreError):
    """A dataset, version, sample, producer or selection of that name does not exist."""

    exit_code = 4

    @classmethod
    def named(cls, kind: str, name: str, known: Iterable[str], *, hint: str = "") -> NotFound:
        """Say what was asked for, and the nearest names that do exist."""
        names = sorted(known)
        near = get_close_matches(name, names, n=3, cutoff=0.5)
        if near:
            told = f"did you mean {' or '.join(near)}?"
        elif names:
            told = f"known: {', '.join(names[:8])}{' …' if len(names) > 8 else ''}"
        else:
            told = f"there is no {kind} yet"
        return cls(f"no {kind} named {name!r}; {told}", hint=hint)


class Busy(InfluenceStoreError):
    """Another live run is doing this very work."""

    exit_code = 5


class Fenced(InfluenceStoreError):
    """This run lost its lease to another; whatever it wrote will never be published."""

    exit_code = 5


class StorageError(InfluenceStoreError):
    """Disk, object storage or database failed."""

    exit_code = 6


class IntegrityError(InfluenceStoreError):
    """Stored bytes are not the bytes that were published."""

    exit_code = 7


class Incompatible(InfluenceStoreError):
    """Two things that do not fit: fingerprints, dimensions, schema or format versions."""

    exit_code = 8


class MissingExtra(Incompatible, ImportError):
    """An optional dependency is needed for what was asked."""


class Forbidden(InfluenceStoreError):
    """The operating system or the database refused access."""

    exit_code = 9
