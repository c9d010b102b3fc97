"""sha256 of files: the identity of weights and tokenizers."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def file_digest(path: Path) -> str:
    """Hex sha256 of one file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_digest(root: Path, files: Iterable[Path]) -> str:
    """Hex sha256 over several files, each by its path below `root` and its bytes; order-free."""
    lines = sorted(f"{file.relative_to(root).as_posix()} {file_digest(file)}" for file in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
