"""What do people lose with a block: which versions, selections and estimators stand on it?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyroaring import BitMap

from influence_store.schema.catalog import Artifact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.jobs.inventory import Held, Owner
    from influence_store.schema.catalog import Block, DatasetVersion


def affected(held: Held, owner: Owner) -> tuple[str, ...]:
    """By names that other verbs take."""
    if isinstance(owner, Artifact):
        return tuple(
            f"estimator {held.producers[row.producer_id].name}"
            for row in held.estimators
            if row.artifact == owner.sha256
        )
    if owner.kind in ("selection", "cover"):
        return tuple(
            f"selection {row.id}"
            for row in held.selections
            if owner.id == row.block_id or (owner.kind == "cover" and owner.run_id == row.run_id)
        )
    versions = versions_of(held, owner)
    return (*(f"{name}@{row.number}" for row, name in versions), *_made_of(held, owner, versions))


def versions_of(held: Held, block: Block) -> list[tuple[DatasetVersion, str]]:
    """Standing versions with a row that the block speaks for."""
    bits = BitMap.deserialize(block.bits)
    return [
        (row, name)
        for row, name in held.versions
        if row.deleted_at is None
        and block.dataset_id in (None, row.dataset_id)
        and bits & BitMap.deserialize(row.bits)
    ]


def _made_of(held: Held, block: Block, versions: list[tuple[DatasetVersion, str]]) -> Iterator[str]:
    """Estimators that read the column or are it; of contents: all that was made from them."""
    ids = {row.id for row, _ in versions}
    for row in held.estimators:
        reads = {row.producer_id, row.method_id, row.embedder_id, row.state_id}
        of_contents = block.kind == "samples" and row.dataset_version_id in ids
        if of_contents or (block.producer_id is not None and block.producer_id in reads):
            yield f"estimator {held.producers[row.producer_id].name}"
    if block.kind == "samples":
        for selection in held.selections:
            if selection.dataset_version_id in ids:
                yield f"selection {selection.id}"
