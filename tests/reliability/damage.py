"""Damage to the files of a store, and what must be found of it, told from SQL and bytes alone."""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from history import Journal
from sqlalchemy import text
from workload import DATASET, embed, ingest, keep, operation

from influence_store.jobs.verify_store import verify_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from backends import Place, RawFiles
    from workers import Scene

    from influence_store.store.store import Store

#: What happens to disks: a bit flips, a sector is zero, a write was cut short, a file is gone …
HOW = ("flip", "zero sector", "truncate", "empty", "delete", "extra file", "grow", "swap")
#: What a look at names, sizes and row counts cannot see.
SAME_SIZE = {"flip", "zero sector", "swap"}
SECTOR = 512
#: LanceDB keeps it for speed alone; stale, garbage or missing it harms nobody (reliability.md P6).
ADVISORY = "latest_version_hint.json"


@dataclass(frozen=True)
class Damage:
    """What was done to which file."""

    how: str
    path: str

    def __str__(self) -> str:
        return f"{self.how} of {self.path}"


def fill(scene: Scene, versions: int = 6) -> None:
    """Versions with embeddings, and an artifact: every kind of file there is."""
    journal = Journal(scene.journals, "writer")
    with scene.place.opened() as store:
        for number in range(versions):
            ingest(store, operation(0, number, scene.seed), scene.inputs, journal)
            embed(store, DATASET, journal)
        keep(store, journal, 0)
    journal.close()


def finders(store: Store) -> dict[str, Callable[[], set[str]]]:
    """The store's own: which paths they call wrong."""

    def verify(*, deep: bool) -> set[str]:
        return {problem.where for problem in verify_store(store, deep=deep).problems}

    return {"verify": partial(verify, deep=False), "verify --deep": partial(verify, deep=True)}


def vouched(place: Place) -> dict[str, tuple[int, str]]:
    """Size and sha256 of every file that SQL vouches for, by its path; read by plain SQL."""
    blocks = (
        "select block.path || '/' || block_file.path, block_file.size, block_file.sha256 "
        "from block_file join block on block.id = block_file.block_id "
        "where block.retired_at is null"
    )
    artifacts = (
        "select 'objects/' || substr(sha256, 1, 2) || '/' || sha256, size, sha256 from artifact"
    )
    with place.opened() as store, store.database.engine.connect() as connection:
        rows = [*connection.execute(text(blocks)), *connection.execute(text(artifacts))]
    return {path: (size, sha256) for path, size, sha256 in rows}


def differences(raw: RawFiles, known: Mapping[str, tuple[int, str]]) -> set[str]:
    """Paths that are not as SQL says, or lie inside a block without its word."""
    there = {path for path in raw.sizes() if path.startswith(("blocks/", "objects/"))}
    wrong = there ^ known.keys()
    for path in there & known.keys():
        content = raw.read(path)
        if (len(content), hashlib.sha256(content).hexdigest()) != known[path]:
            wrong.add(path)
    return wrong


def excused(finder: str, damage: Damage) -> bool:
    """May this finder overlook it? Only looking at every byte sees bytes that kept their number."""
    advisory = ADVISORY in damage.path and damage.how != "extra file"
    return {
        "sha256 from SQL": False,
        "verify --deep": advisory,
        "verify": advisory or damage.how in SAME_SIZE,
    }[finder]


@contextmanager
def damaged(raw: RawFiles, path: str, rng: random.Random) -> Iterator[Damage]:
    """One random change to the file at `path`, or a file put beside it; undone at the end."""
    how, before = rng.choice(HOW), raw.read(path)
    place = path if how != "extra file" else f"{path.rpartition('/')[0]}/{rng.randrange(10**9)}"
    _DO[how](raw, place, before, rng)
    try:
        yield Damage(how, place)
    finally:
        raw.write(path, before)
        if how == "extra file":
            raw.delete(place)


def flip(raw: RawFiles, path: str, bit: int) -> None:
    """Turn one bit of a file over."""
    content = bytearray(raw.read(path))
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    raw.write(path, bytes(content))


def _zero(raw: RawFiles, path: str, before: bytes, rng: random.Random) -> None:
    start = rng.randrange(0, len(before), SECTOR)
    zeroed = before[:start] + bytes(len(before[start : start + SECTOR])) + before[start + SECTOR :]
    # A sector that was zero before has not changed.
    raw.write(path, zeroed if zeroed != before else before[:-1] + bytes([before[-1] ^ 1]))


def _swap(raw: RawFiles, path: str, before: bytes, rng: random.Random) -> None:
    """Two bytes change places: sums that do not look at the order would agree."""
    places = [k for k in range(1, len(before)) if before[k] != before[k - 1]]
    if not places:
        flip(raw, path, 0)
        return
    k = rng.choice(places)
    swapped = before[: k - 1] + before[k : k + 1] + before[k - 1 : k] + before[k + 1 :]
    raw.write(path, swapped)


_DO: dict[str, Callable[[RawFiles, str, bytes, random.Random], None]] = {
    "flip": lambda raw, path, before, rng: flip(raw, path, rng.randrange(8 * len(before))),
    "zero sector": _zero,
    "truncate": lambda raw, path, before, rng: raw.write(
        path, before[: rng.randrange(len(before))]
    ),
    "empty": lambda raw, path, _before, _rng: raw.write(path, b""),
    "delete": lambda raw, path, _before, _rng: raw.delete(path),
    "extra file": lambda raw, path, before, _rng: raw.write(path, before),
    "grow": lambda raw, path, before, rng: raw.write(
        path, before + rng.randbytes(1 + rng.randrange(99))
    ),
    "swap": _swap,
}


@dataclass(frozen=True)
class Found:
    """How often each kind of damage was done, and where it went unnoticed, by whom."""

    done: Counter[str]
    missed: dict[str, list[Damage]]


def sweep(
    place: Place, changes: int, seed: int, finders: Mapping[str, Callable[[], set[str]]]
) -> Found:
    """Damage one file of every block and artifact, ask every finder which paths are wrong, undo.

    Again and again, until `changes` were made.
    """
    known, raw, rng = vouched(place), place.raw, random.Random(seed)
    owners: dict[str, list[str]] = defaultdict(list)
    for path in sorted(path for path in known if known[path][0]):
        owners[path.partition(".lance/")[0]].append(path)
    done: Counter[str] = Counter()
    missed: dict[str, list[Damage]] = {name: [] for name in ("sha256 from SQL", *finders)}
    while (left := changes - done.total()) > 0:
        chosen = rng.sample(sorted(owners), min(left, len(owners)))
        with ExitStack() as stack:
            paths = [rng.choice(owners[owner]) for owner in chosen]
            damages = [stack.enter_context(damaged(raw, path, rng)) for path in paths]
            found = {"sha256 from SQL": differences(raw, known)}
            found |= {name: finder() for name, finder in finders.items()}
        done.update(damage.how for damage in damages)
        for name, wrong in found.items():
            missed[name] += [damage for damage in damages if damage.path not in wrong]
    assert not differences(raw, known), "the sweep did not undo its own damage"
    return Found(done, missed)
