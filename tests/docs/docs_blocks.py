"""Which fenced blocks do the pages hold, and which commands are in them?"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHELL = ("console", "sh")
_FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is the number of its first line inside the fence."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """Where to look when it fails."""
        return f"{self.page}:{self.line}"

    @property
    def first(self) -> str:
        """Its first line, by which a list names it."""
        return self.text.partition("\n")[0]


@dataclass(frozen=True)
class Command:
    """One simple command: its words, where stdout goes, and the output that the page shows."""

    place: str
    line: str
    words: tuple[str, ...]
    into: str | None
    shown: tuple[str, ...] = ()


def pages() -> list[str]:
    """README.md and every page below docs/, relative to the root."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [one.relative_to(ROOT).as_posix() for one in found]


def blocks(page: str, text: str | None = None) -> list[Block]:
    """In the order of the page."""
    content = (ROOT / page).read_text("utf-8") if text is None else text
    return [
        Block(page, content.count("\n", 0, found.start(2)) + 1, found[1], found[2])
        for found in _FENCE.finditer(content)
    ]


def lines(block: Block) -> list[tuple[int, str, tuple[str, ...]]]:
    """Of a shell block: (line number, command line, output shown below it).

    In a console block commands follow `$ `, and the rest is output; in a sh block all are commands.
    """
    joined = block.text.replace("\\\n", "  ")
    found: list[tuple[int, str, list[str]]] = []
    for number, line in enumerate(joined.splitlines(), block.line):
        if block.language == "console" and not line.startswith("$ "):
            assert found, f"{block.place}: output before any command"
            found[-1][2].append(line)
        elif line.strip() and not line.lstrip().startswith("#"):
            found.append((number, line.removeprefix("$ ").strip(), []))
    return [(number, line, tuple(shown)) for number, line, shown in found]


def commands(block: Block, number: int, line: str, shown: tuple[str, ...] = ()) -> list[Command]:
    """The simple commands of a line: parted by `&&`, each perhaps with `> FILE`."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words, found = list(lexer), []
    while words:
        end = words.index("&&") if "&&" in words else len(words)
        part, words = words[:end], words[end + 1 :]
        into = None
        if ">" in part:
            part, (into,) = part[: part.index(">")], part[part.index(">") + 1 :]
        strange = set(part) & {"|", ";", "(", ")", "<", "||", "&", ">>"}
        assert not strange, f"{block.page}:{number}: {strange} is more shell than these tests speak"
        found.append(Command(f"{block.page}:{number}", line, tuple(part), into, shown))
    return found
