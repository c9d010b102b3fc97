"""A verb in a process that has nothing of the test's but the code: a fork of the warm parent."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def verb(line: list[str], folder: Path, environment: Mapping[str, str], said: Path) -> None:
    """In a child: `line` in `folder`, with that environment alone; `said`.out and .err get it."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    tempfile.tempdir = None
    # Like any other process, it may start some.
    multiprocessing.current_process().daemon = False
    sys.stdout = open(f"{said}.out", "w", buffering=1)  # noqa: SIM115
    sys.stderr = open(f"{said}.err", "w", buffering=1)  # noqa: SIM115
    sys.argv = ["influence-store", *line]
    from influence_store.cli import main

    main()
