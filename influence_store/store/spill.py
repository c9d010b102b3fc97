"""Where does a matrix lie that memory may not hold? In a file without a name, mapped.

The system writes its pages out when others need the memory, and reads them when they are asked for.
The file is unlinked as soon as it is open, so nothing is left of it however the process ends.
"""

from __future__ import annotations

import logging
import mmap
import os
from math import prod
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from influence_store.protocols import Floats

#: Smaller matrices are held.
SPILL_BYTES = 512 << 20

_log = logging.getLogger(__name__)


def zeros(shape: tuple[int, int], scratch: Path) -> Floats:
    """A float32 matrix of zeros; from `SPILL_BYTES` on in a file in the folder `scratch`.

    Where no file can be had there, in memory all the same, with a warning.
    """
    size = 4 * prod(shape)
    if size < SPILL_BYTES:
        return np.zeros(shape, np.float32)
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=scratch) as file:
            _reserve(file.fileno(), size)
            mapped = mmap.mmap(file.fileno(), size)
    except OSError as error:
        _log.warning(
            "%.1f GiB of vectors are held in memory: %s cannot take them (%s)",
            size / 2**30,
            scratch,
            error.strerror or error,
        )
        return np.zeros(shape, np.float32)
    return np.frombuffer(mapped, np.float32).reshape(shape)


def _reserve(file: int, size: int) -> None:
    """All of it now: a disk that is full later would end the process without a word."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.truncate(file, size)
