"""What is lost with a damaged block, and which command makes it again?"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from influence_store.counted import counted
from influence_store.jobs.affected import affected, versions_of
from influence_store.output import plain
from influence_store.schema.catalog import Artifact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from influence_store.jobs.inventory import Held, Owner
    from influence_store.schema.catalog import Block, DatasetVersion

#: Made again, without a command of their own, by the verb that needs them.
_BY_THE_WAY = {
    "tokens": "select",
    "neighbours": "select",
    "minhash": "duplicates",
    "duplicates": "duplicates",
    "leaks": "leaks",
    "trial": "trial",
}


@dataclass(frozen=True)
class Loss:
    """Rows of one kind that are gone, how to get them again, and the LLM passes that takes."""

    what: str
    rows: int
    llm_passes: int
    again: tuple[str, ...]
    affects: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """For people."""
        cost = f", about {counted(self.llm_passes, 'LLM pass')}" if self.llm_passes else ""
        yield f"lost: {self.what}, {counted(self.rows, 'row')}{cost}"
        if self.affects:
            more = f" and {len(self.affects) - 8} more" if len(self.affects) > 8 else ""
            yield f"  affects {', '.join(self.affects[:8])}{more}"
        yield from (f"  again: {plain(command)}" for command in self.again)


def redo(held: Held, owners: Iterable[Owner]) -> list[Loss]:
    """One loss for every block or artifact."""
    return [
        _artifact(held, one) if isinstance(one, Artifact) else _block(held, one) for one in owners
    ]


def _artifact(held: Held, one: Artifact) -> Loss:
    trained = [row for row in held.estimators if row.artifact == one.sha256]
    verb = "train" if trained else "label"
    names = {row.id: name for row, name in held.versions}
    datasets = sorted({names[row.dataset_version_id] for row in trained}) or ["DATASET"]
    again = tuple(f"influence-store {verb} {name}" for name in datasets)
    return Loss(f"artifact {one.sha256[:12]} ({one.kind})", 1, 0, again, affected(held, one))


def _block(held: Held, block: Block) -> Loss:
    versions = versions_of(held, block)
    producer = held.producers.get(block.producer_id or 0)
    what = f"{block.kind} of {producer.name}" if producer else block.kind
    return Loss(
        what,
        block.n_rows,
        _llm_passes(held, block),
        tuple(dict.fromkeys(_again(held, block, versions))),
        affected(held, block),
    )


def _again(
    held: Held, block: Block, versions: Sequence[tuple[DatasetVersion, str]]
) -> Iterator[str]:
    datasets = sorted({name for _, name in versions})
    run = held.runs[block.run_id]
    if block.kind in ("samples", "rows"):
        yield from _read_again(held, versions)
    elif block.origin:
        yield f"influence-store pull (from store {block.origin.get('store', '?')})"
    elif block.kind in ("selection", "cover"):
        yield f"the `select` of run {run.id}; its question: influence-store log --verb select"
    elif block.kind in _BY_THE_WAY:
        yield f"the next `{_BY_THE_WAY[block.kind]}` that needs it makes it again"
    elif run.verb == "import":
        paths = [str(path) for path in run.params.get("paths", ())]
        yield f"influence-store import {shlex.join(paths)} --format …"
    elif block.kind == "embedding":
        for name in datasets:
            source = held.sources.get((name, block.producer_id or 0), "…")
            yield f"influence-store embed {name} --embedder {shlex.quote(source)}"
    else:
        verb = "fill" if block.kind == "estimate" else "label"
        for name in datasets:
            told = "" if verb == "fill" else f" …, as in run {run.id} of influence-store log"
            yield f"influence-store {verb} {name}{told}"


def _read_again(held: Held, versions: Sequence[tuple[DatasetVersion, str]]) -> Iterator[str]:
    """Texts and where they came from can only be read again."""
    yield "best from a backup: influence-store repair --quarantine --from BACKUP"
    for name in sorted({name for _, name in versions}):
        runs = [held.runs[row.run_id] for row, of in versions if of == name]
        if "copied" in (newest := runs[-1].params):
            source = shlex.quote(newest["source"])
            yield f"influence-store pull {source} --with-texts {newest['version']} --as {name}"
            continue
        paths = dict.fromkeys(path for run in runs for path in run.params.get("paths", ()))
        yield f"influence-store ingest {shlex.join(paths)} --dataset {name} --snapshot"


def _llm_passes(held: Held, block: Block) -> int:
    """The block's share of what its run spent."""
    spent = held.runs[block.run_id].cost.get("llm_passes", 0)
    every = [one.n_rows for one in [*held.blocks, *held.retired] if one.run_id == block.run_id]
    return round(spent * block.n_rows / sum(every)) if sum(every) else 0
