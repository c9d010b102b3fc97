"""Are the bytes of a block in another store what its catalog vouches for?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlmodel import select

from influence_store.errors import IntegrityError
from influence_store.schema.catalog import BlockFile
from influence_store.store.blocks import hash_files

if TYPE_CHECKING:
    from influence_store.store.grid import BlockRef
    from influence_store.store.store import Store


def check_bytes(other: Store, block: BlockRef) -> None:
    """IntegrityError unless every file of the block is what the catalog there vouches for."""
    with other.database.read() as session:
        rows = session.exec(select(BlockFile).where(BlockFile.block_id == block.id)).all()
    vouched = {(row.path, row.size, row.sha256) for row in rows}
    found = {(file.path, file.size, file.sha256) for file in hash_files(other.storage, block.path)}
    if found != vouched:
        damaged = sorted(path for path, _, _ in found ^ vouched)
        raise IntegrityError(
            f"{other.uri}: {block.path}/{damaged[0]} is not what its catalog vouches for; "
            "nothing was taken from this block",
            hint=f"see what is damaged there: influence-store --store {other.uri} verify --deep",
        )
