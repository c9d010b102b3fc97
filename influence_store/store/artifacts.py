"""Content-addressed files: trained estimators, by the sha256 of their bytes."""

from __future__ import annotations

import hashlib
import os
import uuid
from typing import TYPE_CHECKING

from influence_store.errors import IntegrityError
from influence_store.schema.catalog import Artifact
from influence_store.store.blocks import sync
from influence_store.store.faults import step

if TYPE_CHECKING:
    from pathlib import Path


def put(root: Path, content: bytes, kind: str, now: float) -> Artifact:
    """Store `content` durably and return its row, which a publish must vouch for."""
    sha256 = hashlib.sha256(content).hexdigest()
    path = _path(root, sha256)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{sha256}.{uuid.uuid4().hex}.part")
        part.write_bytes(content)
        sync(part)
        os.replace(part, path)
        for folder in (path.parent, path.parent.parent, root):
            sync(folder)
    step("artifact-written")
    return Artifact(sha256=sha256, kind=kind, size=len(content), created_at=now)


def get(root: Path, sha256: str) -> bytes:
    """The bytes behind `sha256`, checked before anybody parses them."""
    path = _path(root, sha256)
    if not path.exists():
        raise IntegrityError(f"artifact {sha256[:12]} is missing: {path.relative_to(root)}")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise IntegrityError(
            f"artifact {sha256[:12]} was changed after it was stored",
            hint="restore it from a backup, or train the estimator again",
        )
    return content


def _path(root: Path, sha256: str) -> Path:
    return root / "objects" / sha256[:2] / sha256
