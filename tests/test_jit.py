"""Loops are compiled once, and only then is it said."""

from __future__ import annotations

import os
import subprocess
import sys

_LOOP = """
from influence_store.jit import compiled

@compiled("reassoc")
def total(n):
    found = 0
    for k in range(n):
        found += k
    return found

@compiled()
def twice(n):
    return 2 * total(n)
"""
_RUN = """
import logging
logging.basicConfig(level=logging.INFO, format="%(message)s")
from loop import twice
print(twice(5))
"""


def test_compiling_is_said_once_and_what_was_compiled_is_kept(tmp_path):
    (tmp_path / "loop.py").write_text(_LOOP)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kept"), "PYTHONPATH": path}
    said = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", _RUN], capture_output=True, text=True, check=True, env=env
        )
        assert done.stdout == "20\n"
        said.append(done.stderr)
    assert said == [
        "compiling loops for this processor: some seconds, once per installation\n",
        "",
    ]
