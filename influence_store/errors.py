"""Every error this package raises on purpose, grouped by who can mend it.

InfluenceStoreError       IS100  exit 1   (a bug of ours has this code, too)
├── UsageError            IS200  exit 2   you: the command or call was wrong
│   └── QueryLimit        IS201           … a statement needs more time or memory than it has
├── InputError            IS300  exit 3   you: the data is wrong
│   └── ReadError         IS301           … at a named file and line
├── NotFound              IS400  exit 4   you: the name does not exist (nearest names are shown)
│   ├── StoreNotFound     IS401           … there is no store at all
│   └── NotComputed       IS402           … nobody has computed that yet; the hint does
├── Busy                  IS500  exit 5   wait: another run holds this work
├── Fenced                IS501  exit 5   nobody: this run was taken over and must stop
├── StorageError          IS600  exit 6   the machine: disk, network, database
│   ├── Unreachable       IS601           … something far away did not answer: try again
│   └── WorkerLost        IS602           … processes die, again and again, of the same piece
├── IntegrityError        IS700  exit 7   the store: bytes differ from what SQL vouches for
├── Incompatible          IS800  exit 8   you: embedder, estimator, schema or format do not fit
│   ├── MissingExtra      IS801           … an optional package is not installed
│   └── SchemaMismatch    IS802           … the store is of another version of this program
└── Forbidden             IS900  exit 9   the owner: not allowed

A message has three parts: what was found, what was expected, and the next command to type.
A code never changes its meaning; docs/errors.md lists them with usual causes. Its first digit is
the exit code. Misuse of the Python API stays ValueError or TypeError.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


#: From here on a known name is told as what was meant; of two names that share no more than half
#: their letters, such as `nope` and `line`, nobody was mistaken for the other.
_ALIKE = 0.65


class InfluenceStoreError(Exception):
    """Base of all errors below; carries the exit code of the command line and a stable code."""

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "IS100"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message}\n  {hint}" if hint else message)
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """Comes from another process as itself, whatever its class takes."""
        return _again, (type(self), self.args, dict(vars(self)))


class UsageError(InfluenceStoreError):
    """The command line or configuration asks for something that makes no sense."""

    exit_code = 2
    code = "IS200"


class QueryLimit(UsageError):
    """A statement took more time or memory than it was given."""

    code = "IS201"


class InputError(InfluenceStoreError):
    """Data handed in is not what it must be."""

    exit_code = 3
    code = "IS300"


class ReadError(InputError):
    """One record of an input file is wrong; `where` is `file:line`."""

    code = "IS301"

    def __init__(self, where: str, reason: str, *, hint: str = "") -> None:
        super().__init__(f"{where}: {reason}", hint=hint)
        self.where = where
        self.reason = reason


class NotFound(InfluenceStoreError):
    """A dataset, version, sample, producer or selection of that name does not exist."""

    exit_code = 4
    code = "IS400"

    @classmethod
    def named(cls, kind: str, name: str, known: Iterable[str], *, hint: str = "") -> NotFound:
        """Say what was asked for, and the nearest names that do exist."""
        names = sorted(known)
        near = get_close_matches(name, names, n=3, cutoff=_ALIKE)
        if near:
            told = f"did you mean {' or '.join(near)}?"
        elif names:
            told = f"known: {', '.join(names[:8])}{' …' if len(names) > 8 else ''}"
        else:
            told = f"there is no {kind} yet"
        return cls(f"no {kind} named {name!r}; {told}", hint=hint)


class StoreNotFound(NotFound):
    """There is no store at that place."""

    code = "IS401"


class NotComputed(NotFound):
    """Embeddings, labels or an estimator that are needed here were not computed yet."""

    code = "IS402"


class Busy(InfluenceStoreError):
    """Another live run is doing this very work."""

    exit_code = 5
    code = "IS500"


class Fenced(InfluenceStoreError):
    """This run lost its lease to another; whatever it wrote will never be published."""

    exit_code = 5
    code = "IS501"


class StorageError(InfluenceStoreError):
    """Disk, object storage or database failed."""

    exit_code = 6
    code = "IS600"


class Unreachable(StorageError):
    """A database, an object storage or the model hub did not answer."""

    code = "IS601"


class WorkerLost(StorageError):
    """Every process that was given one piece of the work ended before it was done."""

    code = "IS602"


class IntegrityError(InfluenceStoreError):
    """Stored bytes are not the bytes that were published."""

    exit_code = 7
    code = "IS700"


class Incompatible(InfluenceStoreError):
    """Two things that do not fit: fingerprints, dimensions, schema or format versions."""

    exit_code = 8
    code = "IS800"


class MissingExtra(Incompatible, ImportError):
    """An optional dependency is needed for what was asked."""

    code = "IS801"


class SchemaMismatch(Incompatible):
    """The catalog has the schema of an older or newer version of this program."""

    code = "IS802"


class Forbidden(InfluenceStoreError):
    """The operating system or the database refused access."""

    exit_code = 9
    code = "IS900"


def _again(
    kind: type[InfluenceStoreError], args: tuple[Any, ...], facts: dict[str, Any]
) -> InfluenceStoreError:
    """The error that `__reduce__` took apart."""
    error = kind.__new__(kind, *args)
    Exception.__init__(error, *args)
    vars(error).update(facts)
    return error
