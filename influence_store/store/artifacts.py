"""Content-addressed files: trained estimators, by the sha256 of their bytes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from influence_store.errors import IntegrityError, NotFound
from influence_store.schema.catalog import Artifact
from influence_store.store.faults import step

if TYPE_CHECKING:
    from influence_store.store.storage import Storage


def put(storage: Storage, content: bytes, kind: str, now: float) -> Artifact:
    """Store `content` durably and return its row, which a publish must vouch for."""
    sha256 = hashlib.sha256(content).hexdigest()
    # Written again where it exists: whoever wrote it may have died before it was on the disk.
    storage.put(path_of(sha256), content)
    step("artifact-written")
    return Artifact(sha256=sha256, kind=kind, size=len(content), created_at=now)


def get(storage: Storage, sha256: str) -> bytes:
    """The bytes behind `sha256`, checked before anybody parses them."""
    try:
        content = storage.read(path_of(sha256))
    except NotFound as error:
        raise IntegrityError(
            f"artifact {sha256[:12]} is missing: {path_of(sha256)}",
            hint="restore it from a backup, or train the estimator again",
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise IntegrityError(
            f"artifact {sha256[:12]} was changed after it was stored",
            hint="restore it from a backup, or train the estimator again",
        )
    return content


def path_of(sha256: str) -> str:
    """Where it lies below the root."""
    return f"objects/{sha256[:2]}/{sha256}"
