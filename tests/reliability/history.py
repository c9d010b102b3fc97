"""Did a store keep its promises? Decided from what processes wrote down, not by the store.

Every process appends to a journal of its own: an operation begins, is acknowledged or fails; a read
saw so many rows with this digest. `check` replays the acknowledged operations on plain sets and
compares. A *content* is a number, and `text_of` says which text it stands for, so that a reader can
tell what it saw without trusting any id or checksum of the store. Every ingest brings one content
that no other brings, its *stamp*: the version in which the stamp appears is the operation's effect.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

#: Errors that an operation may end with: somebody else works on it, or has taken it over.
EXPECTED_ERRORS = frozenset({"Busy", "Fenced"})


@dataclass(frozen=True)
class Violation:
    """A broken promise: which rule, and what was seen."""

    rule: str
    told: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.told}"


class Journal:
    """One process's own account; a line is in the file before the next step is taken."""

    def __init__(self, folder: Path, name: str) -> None:
        self._name = name
        self._file = os.open(
            folder / f"{name}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
        )
        os.write(self._file, b"\n")  # the predecessor may have been killed inside a line

    def write(self, what: str, **facts: Any) -> None:
        """Append one event; `at` is a clock that all processes of this machine share."""
        event = {"what": what, "by": self._name, "at": time.monotonic(), **facts}
        os.write(self._file, json.dumps(event).encode() + b"\n")

    def begin(
        self, op: str, dataset: str, adds: Sequence[int], drops: Sequence[int] = (), *, stamp: int
    ) -> None:
        """An ingest is about to be asked for."""
        self.write("begin", op=op, dataset=dataset, adds=list(adds), drops=list(drops), stamp=stamp)

    def ack(self, op: str, version: int, *, changed: bool) -> None:
        """It returned: from now on it must never be lost."""
        self.write("ack", op=op, version=version, changed=changed)

    def fail(self, op: str, error: BaseException) -> None:
        """It raised: it may have happened or not, but not in part."""
        self.write("fail", op=op, error=type(error).__name__, told=str(error)[:500])

    def read(self, dataset: str, version: int, seen: Iterable[int], began: float) -> None:
        """A reader resolved `dataset`@`version` after `began` and saw these contents."""
        contents = list(seen)
        self.write(
            "read",
            dataset=dataset,
            version=version,
            rows=len(contents),
            digest=digest(contents),
            began=began,
        )

    def close(self) -> None:
        """No more events."""
        os.close(self._file)


def read_journals(folder: Path) -> list[dict[str, Any]]:
    """All events of all processes in the order of time; torn lines were never finished."""
    events = [event for path in sorted(folder.glob("*.jsonl")) for event in read_journal(path)]
    return sorted(events, key=lambda event: event["at"])


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The finished events of one journal; none where its process was killed before it began."""
    for line in (path.read_bytes() if path.exists() else b"").split(b"\n"):
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(event, dict):
            yield event


def text_of(content: int) -> tuple[str, str]:
    """The prompt and the response that stand for a content."""
    word = hashlib.blake2b(str(content).encode(), digest_size=4).hexdigest()
    return f"What is number {content}?", f"It is {word} of {content}. " + word * (content % 7)


def content_of(prompt: str, response: str) -> int:
    """The content behind a stored text; −1 if it is none of ours or was changed."""
    digits = prompt.removeprefix("What is number ").removesuffix("?")
    if not digits.isdecimal() or text_of(int(digits)) != (prompt, response):
        return -1
    return int(digits)


def digest(contents: Iterable[int]) -> str:
    """Of a multiset of contents, over their texts: repeated or missing rows change it."""
    texts = sorted(json.dumps(text_of(content)) for content in contents)
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:32]


def check(events: Sequence[dict[str, Any]]) -> list[Violation]:
    """Every promise that this history breaks; empty when it keeps all of them.

    The history must end with an audit: one `version` event per version that the store holds, with
    the contents found in it, and the cells found in the columns. Earlier audits were of their time.
    """
    events = _with_last_audit(events)
    broken = [
        Violation(
            "unexpected error", f"{one['by']} in {one.get('op')}: {one['error']} {one['told']}"
        )
        for one in _all(events, "fail")
        if one["error"] not in EXPECTED_ERRORS
    ]
    datasets = {one["dataset"] for one in _all(events, "begin")}
    if not _all(events, "audited"):
        broken.append(Violation("no audit", "the history does not say what the store holds"))
    for dataset in sorted(datasets):
        truth = _Truth(events, dataset)
        broken += truth.violations
        broken += _check_acks(events, dataset, truth)
        broken += _check_reads(events, dataset, truth)
    broken += _check_cells(events)
    return broken


class _Truth:
    """Which operation made which version, and what each version must therefore hold."""

    def __init__(self, events: Sequence[dict[str, Any]], dataset: str) -> None:
        self.violations: list[Violation] = []
        self.ops = {one["op"]: one for one in reversed(_all(events, "begin", dataset))}
        self.maker: dict[int, str] = {}
        self.contents: dict[int, frozenset[int]] = {}
        found = {one["version"]: one["contents"] for one in _all(events, "version", dataset)}
        if sorted(found) != list(range(1, len(found) + 1)):
            self._say("hole", f"{dataset} has versions {sorted(found)}")
        before: frozenset[int] = frozenset()
        for version in sorted(found):
            before = self._replay(f"{dataset}@{version}", version, before, found[version])

    def _replay(
        self, name: str, version: int, before: frozenset[int], found: list[int]
    ) -> frozenset[int]:
        """What `version` must hold, given the one before it and what was found in it."""
        repeated = [content for content, times in Counter(found).items() if times > 1]
        if repeated:
            self._say("doubled row", f"{name} holds {repeated[:5]} more than once")
        stamps = {one["stamp"]: op for op, one in self.ops.items()}
        made_by = [stamps[content] for content in set(found) - before if content in stamps]
        if len(made_by) != 1:
            self._say("no single cause", f"{name} was made by {made_by or 'nobody'}")
            return frozenset(found)
        (op,) = made_by
        adds, drops = self.ops[op]["adds"], self.ops[op]["drops"]
        expected = (before | frozenset(adds)) - frozenset(drops)
        if frozenset(found) != expected:
            lacking, extra = sorted(expected - set(found)), sorted(set(found) - expected)
            self._say("torn version", f"{name} by {op} lacks {lacking[:5]}, has also {extra[:5]}")
        self.maker[version] = op
        self.contents[version] = expected
        return expected

    def _say(self, rule: str, told: str) -> None:
        self.violations.append(Violation(rule, told))


def _check_acks(
    events: Sequence[dict[str, Any]], dataset: str, truth: _Truth
) -> Iterator[Violation]:
    """Acknowledged ⇔ exactly one effect; whatever was not may have none."""
    made_in = {op: version for version, op in truth.maker.items()}
    changes = Counter(op for op in truth.maker.values())
    for op, times in changes.items():
        if times > 1:
            yield Violation("doubled effect", f"{op} made {times} versions of {dataset}")
    changed: Counter[str] = Counter()
    for ack in _all(events, "ack"):
        op = ack["op"]
        if op not in truth.ops:
            continue
        if op not in made_in:
            yield Violation("lost ack", f"{op} was acknowledged as {dataset}@{ack['version']}")
        elif ack["changed"] and ack["version"] != made_in[op]:
            yield Violation("lost ack", f"{op}: acked @{ack['version']}, found @{made_in[op]}")
        elif ack["version"] < made_in[op]:
            yield Violation("lost ack", f"{op} was a no-op @{ack['version']}, before its effect")
        changed[op] += ack["changed"]
    for op, times in changed.items():
        if times > 1:
            yield Violation("doubled effect", f"{op} was told {times} times that it made a version")


def _check_reads(
    events: Sequence[dict[str, Any]], dataset: str, truth: _Truth
) -> Iterator[Violation]:
    """Whole, of a version that exists, not older than what was acknowledged before, monotonic."""
    expected = {version: digest(contents) for version, contents in truth.contents.items()}
    begun = {one["op"]: one["at"] for one in reversed(_all(events, "begin", dataset))}
    acked = sorted(
        (ack["at"], ack["version"]) for ack in _all(events, "ack") if ack["op"] in truth.ops
    )
    newest, position = 0, 0
    reads = _all(events, "read", dataset)
    for read in sorted(reads, key=lambda one: one["began"]):
        name = f"{read['by']} read {dataset}@{read['version']}"
        while position < len(acked) and acked[position][0] < read["began"]:
            newest, position = max(newest, acked[position][1]), position + 1
        if read["version"] not in expected:
            yield Violation("read of nothing", f"{name}, which does not exist")
            continue
        if read["digest"] != expected[read["version"]]:
            told = f"{name}: {read['rows']} rows for {len(truth.contents[read['version']])}"
            yield Violation("torn read", told)
        if read["version"] < newest and not read.get("pinned"):
            yield Violation("stale read", f"{name} after @{newest} was acknowledged")
        if read["at"] < begun[truth.maker[read["version"]]]:
            yield Violation("read of the future", f"{name} before its operation began")
    for reader in {one["by"] for one in reads}:
        own = [one for one in reads if one["by"] == reader and not one.get("pinned")]
        for one, other in pairwise(own):
            if other["version"] < one["version"]:
                told = f"{reader} saw {dataset}@{one['version']}, then @{other['version']}"
                yield Violation("backward read", told)


def _check_cells(events: Sequence[dict[str, Any]]) -> Iterator[Violation]:
    """A content has one sid and a producer one value for it, the right one; what was kept stays."""
    for cells in _all(events, "cells"):
        if cells["found"] != cells["distinct"]:
            told = f"{cells['of']}: {cells['found']} cells for {cells['distinct']} contents"
            yield Violation("doubled cell", told)
        if cells["wrong"]:
            yield Violation("wrong cell", f"{cells['of']}: {cells['wrong']} values are not right")
    embedded = {(one["dataset"], one["version"]) for one in _all(events, "embedded")}
    for version in _all(events, "version"):
        name, rows = (version["dataset"], version["version"]), len(version["contents"])
        if name in embedded and version["vectors"] != rows:
            told = f"{name[0]}@{name[1]} was embedded, {rows - version['vectors']} vectors lack"
            yield Violation("lost cell", told)
    found = {one["sha256"]: one["found"] for one in _all(events, "artifact")}
    for sha256 in [*found, *(one["sha256"] for one in _all(events, "kept"))]:
        if found.get(sha256) != sha256:
            yield Violation("lost artifact", f"{sha256[:12]} is {found.get(sha256)}")


def _with_last_audit(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    ends = [position for position, one in enumerate(events) if one["what"] == "audited"]
    earlier = ends[-2] if len(ends) > 1 else -1
    told = ("version", "cells", "artifact", "audited")
    return [one for k, one in enumerate(events) if k > earlier or one["what"] not in told]


def _all(
    events: Sequence[dict[str, Any]], what: str, dataset: str | None = None
) -> list[dict[str, Any]]:
    return [
        event
        for event in events
        if event["what"] == what and (dataset is None or event.get("dataset") == dataset)
    ]
