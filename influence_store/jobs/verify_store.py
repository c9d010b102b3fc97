"""`verify`: is the store what its catalog says? Quickly, or byte by byte.

Quick: the catalog agrees with itself; every file is there with its size, and nothing else lies
inside a block; every table opens with its rows. Deep: also sha256 of every file and the checksum of
every value. Writes nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from influence_store.counted import agree, counted
from influence_store.errors import IntegrityError
from influence_store.execution import LOCAL
from influence_store.jobs.affected import affected
from influence_store.jobs.inspect_all import inspect_all
from influence_store.jobs.inspection import Finding, opens, record_of
from influence_store.jobs.invariants import broken_invariants, unreadable_bitmaps
from influence_store.jobs.inventory import ADVISORY, held, key, listing, run_of
from influence_store.output import plain
from influence_store.progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.execution import Executor
    from influence_store.jobs.inspection import Record
    from influence_store.jobs.inventory import Held, Listing, Owner, Vouched
    from influence_store.store.store import Store

_SHOWN = 20
REPAIR = "influence-store repair --quarantine"
_RESTORE = "restore the catalog and its files from one backup: influence-store restore"
#: Findings about bytes that a block or artifact lost, as against bytes too many.
DAMAGE = {"missing", "size", "changed", "unreadable", "rows", "checksum"}


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it must be, whom it concerns, and the command that mends it.

    `owner` is the path of the block, or the sha256 of the artifact, that the file belongs to.
    """

    code: str
    where: str
    found: str
    expected: str
    mend: str
    affects: tuple[str, ...] = ()
    owner: str = ""

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.code.upper()} {plain(self.where)}"
        yield f"  found {plain(self.found)}; expected {plain(self.expected)}"
        if self.affects:
            more = f" and {len(self.affects) - 8} more" if len(self.affects) > 8 else ""
            yield f"  affects {', '.join(self.affects[:8])}{more}"
        yield f"  mend: {self.mend}"


@dataclass(frozen=True)
class VerifyStoreReport:
    """How much was looked at, what is wrong with it, and what `gc` may remove."""

    store: str
    deep: bool
    blocks: int
    artifacts: int
    files: int
    bytes: int
    leftover_files: int
    foreign_files: int
    problems: list[Problem] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return {**asdict(self), "clean": not self.problems}

    def lines(self) -> list[str]:
        """For people: at most twenty problems, and how many there are."""
        looked = "every byte and value" if self.deep else "sizes and row counts"
        told = [
            f"{self.store}: {counted(self.blocks, 'block')} and "
            f"{counted(self.artifacts, 'artifact')} in {counted(self.files, 'file')}, "
            f"{self.bytes:,} bytes; {looked} compared"
        ]
        for problem in self.problems[:_SHOWN]:
            told += problem.lines()
        if len(self.problems) > _SHOWN:
            told.append(f"… and {len(self.problems) - _SHOWN} more; all of them: verify --json")
        if self.leftover_files:
            files = counted(self.leftover_files, "file is", "files are")
            told.append(f"{files} nobody's; see: influence-store gc")
        if self.foreign_files:
            told.append(
                f"{counted(self.foreign_files, 'file')} beside the store's own "
                f"{agree(self.foreign_files, 'was', 'were')} not looked at"
            )
        told.append(counted(len(self.problems), "problem") if self.problems else "no problems")
        return told

    def check(self) -> None:
        """IntegrityError if anything is wrong."""
        if self.problems:
            first = self.problems[0]
            raise IntegrityError(
                f"{counted(len(self.problems), 'problem')} in {self.store}, the first: "
                f"{plain(first.where)}",
                hint=first.mend,
            )


def verify_store(
    store: Store,
    *,
    deep: bool = False,
    max_mb_per_s: float | None = None,
    executor: Executor = LOCAL,
) -> VerifyStoreReport:
    """Compare the store with its catalog; `executor` takes a deep look, `max_mb_per_s` slows it.

    Problems are values of the report. StorageError if the place or the catalog cannot be read.
    """
    with store.database.read() as session:
        unreadable = list(unreadable_bitmaps(session))
        broken = unreadable or list(broken_invariants(session))
    # SQL first: what is published while we look is then unknown to us, but never missing.
    known = held(store)
    there = listing(store.storage.files())
    problems = [Problem("catalog", *one, mend=_RESTORE) for one in broken]
    if not unreadable:
        owners = known.owners()
        whole, cut = _by_size(known, there)
        problems += cut
        for record, found in _looks(store, whole, deep, max_mb_per_s, executor):
            problems += (_problem(known, owners[record.owner], one) for one in found)
        problems += _too_much(known, there)
        problems = _still_true(store, known, problems)
    return VerifyStoreReport(
        store=store.uri,
        deep=deep,
        blocks=len(known.blocks),
        artifacts=len(known.artifacts),
        files=len(known.files),
        bytes=sum(file.size for file in known.files.values()),
        leftover_files=len(there.leftovers) + _n_orphans(known, there),
        foreign_files=len(there.foreign),
        problems=problems,
    )


def _by_size(known: Held, there: Listing) -> tuple[list[Record], list[Problem]]:
    """What the listing has nothing to say against, and what it has against the rest."""
    owners, files = known.owners(), known.files_by_owner()
    whole, problems = [], []
    for name, owner in owners.items():
        found = [one for file in files[name] for one in _size(file, there)]
        problems += [_problem(known, owner, one) for one in found]
        if not found:
            whole.append(record_of(owner, files[name]))
    return whole, problems


def _looks(
    store: Store,
    whole: list[Record],
    deep: bool,
    max_mb_per_s: float | None,
    executor: Executor,
) -> Iterator[tuple[Record, list[Finding]]]:
    """The long look at all of them, or the quick one at tables."""
    if deep:
        looks = inspect_all(
            store, whole, advisory=ADVISORY, max_mb_per_s=max_mb_per_s, executor=executor
        )
    else:
        whole = [record for record in whole if record.table is not None]
        looks = ((record, opens(store.storage, record)) for record in whole)
    with progress("verifying", len(whole), "blocks") as advance:
        for look in looks:
            yield look
            advance()


def _size(file: Vouched, there: Listing) -> Iterator[Finding]:
    if file.path.endswith(ADVISORY):
        return
    found = there.all.get(file.path)
    if found is None:
        yield Finding("missing", file.path, "no such file", f"{file.size} bytes")
    elif found.size != file.size:
        yield Finding("size", file.path, f"{found.size} bytes", f"{file.size} bytes")


def _problem(known: Held, owner: Owner, one: Finding) -> Problem:
    whom = affected(known, owner)
    return Problem(one.code, one.path, one.found, one.expected, REPAIR, whom, key(owner))


def _too_much(known: Held, there: Listing) -> Iterator[Problem]:
    """Files inside a live block, and where only blocks and objects may lie."""
    blocks = {block.path: block for block in known.blocks}
    for path, files in there.folders.items():
        if (block := blocks.get(path)) is not None:
            for file in files:
                if file.path not in known.files:
                    found = f"a file of {file.size} bytes that was not published with the block"
                    yield _problem(known, block, Finding("extra", file.path, found, "no such file"))
        elif run_of(path) not in known.runs:
            found = f"a table of run {run_of(path)}, which the catalog never heard of"
            expected = "tables of its own runs: is the catalog older than the files?"
            yield Problem("unknown", path, found, expected, REPAIR)
    for file in there.unknown:
        found = f"a file of {file.size} bytes"
        yield Problem("unknown", file.path, found, "only blocks and artifacts here", REPAIR)


def _still_true(store: Store, known: Held, problems: list[Problem]) -> list[Problem]:
    """Without what concerns blocks that another run retired, or runs that began, meanwhile."""
    if not problems:
        return []
    now = held(store)
    live = {block.path for block in now.blocks} | {one.sha256 for one in now.artifacts}
    retired = {block.path for block in known.blocks} - live
    return [
        one
        for one in problems
        if one.owner not in retired
        and not (one.code == "unknown" and run_of(one.where) in now.runs)
    ]


def _n_orphans(known: Held, there: Listing) -> int:
    """Files of tables and objects that no live row names, of runs that the catalog knows."""
    live = {block.path for block in known.blocks}
    hashes = {one.sha256 for one in known.artifacts}
    tables = [
        files for path, files in there.folders.items()
        if path not in live and run_of(path) in known.runs
    ]  # fmt: skip
    return sum(map(len, tables)) + len(there.objects.keys() - hashes)
