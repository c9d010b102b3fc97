"""The README's first ten minutes, run in an empty folder: commands, and what they really say.

python tests/ten_minutes.py            # runs them and writes their output into the README
python tests/ten_minutes.py --print    # runs them and shows the block

A command is a line that begins with `$`; what follows, up to the next one, is its output. An id in
the output of a run stands for the id in the same place of the README, from there on.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
_BLOCK = re.compile(r"(?<=\n## Ten minutes\n)(.*?\n```console\n)(.*?)(\n```\n)", re.DOTALL)
_ID = re.compile(r"\b[0-9a-f]{12}\b|\b[0-9a-f]{32,64}\b")
_NUMBER = re.compile(r"[-+±]?\d[\d,.]*%?")
_QUOTED = re.compile(r"“[^”]*”")
# Which candidate is kept, and what is said of it, hangs on last bits of the LLM.
_NETWORK = re.compile(r"\b[a-z-]*(?:cosine|ridge|cift)[a-z-]*\b|\bno better than \w+|\btrusted\b")
_FRAME = re.compile(r"[─│┌┐└┘├┤┬┴┼╞╪╡═╭╮╰╯…\s]+")


@dataclass(frozen=True)
class Step:
    """One command and what it says."""

    command: str
    output: str


def steps(readme: str) -> list[Step]:
    """Those of the README."""
    found = _BLOCK.search(readme)
    assert found, "the README has no block of the first ten minutes"
    parts = re.split(r"^\$ ", found[2], flags=re.MULTILINE)[1:]
    told = [part.partition("\n") for part in parts]
    return [Step(command, output.strip("\n")) for command, _, output in told]


def run(told: list[Step], folder: Path) -> list[Step]:
    """The same commands in the empty `folder`, with the ids of this run in place of those told."""
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "100"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    ids: dict[str, str] = {}
    done, here = [], folder
    for step in told:
        command = _ID.sub(partial(_now, ids), step.command)
        where = folder.with_name(f"{folder.name}.pwd")
        finished = subprocess.run(
            ["bash", "-c", f"set -e; {command}\npwd > {shlex.quote(str(where))}"],
            cwd=here,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, f"{command}\n{finished.stdout}{finished.stderr}"
        here = Path(where.read_text().strip())
        done.append(Step(command, finished.stdout.strip("\n")))
        ids |= dict(zip(_ID.findall(step.output), _ID.findall(finished.stdout), strict=False))
    return done


def _now(ids: dict[str, str], found: re.Match[str]) -> str:
    return ids.get(found[0], found[0])


def shape(text: str) -> list[str]:
    """The lines without what differs from run to run: numbers, ids, texts of samples, frames."""
    lines = []
    for line in text.splitlines():
        bare = _NETWORK.sub("NETWORK", _QUOTED.sub("“”", _ID.sub("ID", line)))
        lines.append(_FRAME.sub(" ", _NUMBER.sub("N", bare)).strip())
    return [line for line in lines if line]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        empty = Path(made, "empty")
        empty.mkdir()
        again = run(steps(README.read_text()), empty)
    block = "\n\n".join(f"$ {step.command}\n{step.output}".rstrip() for step in again)
    if "--print" in sys.argv:
        print(block)
    else:
        told = README.read_text()
        README.write_text(_BLOCK.sub(lambda found: found[1] + block + found[3], told))
