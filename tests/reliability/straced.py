"""A child under strace: what it asks of the kernel, and a fault at its n-th system call.

strace joins the child when it is warm, so that neither imports nor start-up are traced.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import children

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_CALL = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)(?:<((?:\\x..)*)>)?.*")
_STRING, _PATH = re.compile(r'"((?:\\x..)*)"'), re.compile(r"^(\d+)<((?:\\x..)*)>")
_PR_SET_PTRACER, _ANYBODY = 0x59616D61, -1


@dataclass(frozen=True)
class Call:
    """One finished system call. `text` are its arguments with all strings taken out."""

    thread: str
    name: str
    text: str
    fd: int
    fd_path: str
    strings: tuple[bytes, ...]
    result: int
    result_path: str

    @property
    def path(self) -> str:
        """The file it is about: what its descriptor stands for, or its first string."""
        return self.fd_path or (os.fsdecode(self.strings[0]) if self.strings else "")

    @property
    def numbers(self) -> list[int]:
        """The plain numbers among its arguments, in order."""
        return [int(one) for one in re.findall(r"(?<![\w<])-?\d+(?![\w<])", self.text)]


@dataclass(frozen=True)
class Traced:
    """How the child ended, and its system calls in the order in which they returned."""

    exit_code: int
    calls: list[Call]

    def per_thread(self, chosen: Callable[[Call], bool]) -> set[tuple[str, int]]:
        """(name, n) where the n-th call of that name in some thread was `chosen`.

        strace counts each thread by itself, so this is how a fault names its place.
        """
        count: Counter[tuple[str, str]] = Counter()
        found = set()
        for call in self.calls:
            count[call.thread, call.name] += 1
            if chosen(call):
                found.add((call.name, count[call.thread, call.name]))
        return found


def run(work: Callable[..., None], *arguments: Any, calls: str, inject: str = "") -> Traced:
    """Run `work(*arguments)` in a child, tracing `calls`; `inject` as strace has it."""
    with tempfile.TemporaryDirectory() as folder:
        gate, log = Path(folder, "go"), Path(folder, "log")
        process = children.start(_wait_and_work, str(gate), work, arguments)
        # Every string whole and in hexadecimal: easily read, and nothing can break a line.
        command = [
            "strace",
            "-f",
            "-y",
            "-xx",
            "-s",
            "100000000",
            "-o",
            str(log),
            "-p",
            str(process.pid),
            "-e",
        ]
        command += [f"trace={calls}", "-e", "signal=none"]
        command += ["-e", f"inject={inject}"] if inject else []
        tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            _wait_until_attached(tracer, process.pid)
            gate.touch()
            code = children.finish(process)
            tracer.wait(60)
        finally:
            tracer.kill()
            tracer.communicate()
            process.kill()
        return Traced(code, list(_finished(log.read_text().splitlines())))


@cache
def works() -> str:
    """Why strace cannot be used here; empty if it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    probe = ["strace", "-o", os.devnull, "true"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"strace may not trace here: {done.stderr[:100]}"


def _wait_and_work(gate: str, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """In the child: let strace join, then begin."""
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(_ANYBODY), 0, 0, 0)
    while not os.path.exists(gate):
        time.sleep(0.002)
    work(*arguments)


def _wait_until_attached(tracer: subprocess.Popen[str], pid: int | None) -> None:
    assert tracer.stderr is not None
    for line in tracer.stderr:
        if f"{pid} attached" in line:
            return
        raise AssertionError(f"strace did not join: {line}")


def _finished(lines: Iterable[str]) -> Iterator[Call]:
    """Calls that returned; one that another thread interrupted is put together again."""
    pending: dict[str, str] = {}
    for line in lines:
        thread, _, rest = line.partition(" ")
        rest = rest.lstrip()
        if rest.endswith("<unfinished ...>"):
            pending[thread] = rest.removesuffix("<unfinished ...>")
            continue
        if rest.startswith("<... "):
            rest = pending.pop(thread) + rest.partition(" resumed>")[2]
        found = _CALL.fullmatch(f"{thread} {rest}")
        if found is not None:
            yield _call(*found.groups())


def _call(thread: str, name: str, told: str, result: str, result_path: str | None) -> Call:
    fd = _PATH.match(told)
    strings = tuple(bytes.fromhex(one.replace("\\x", "")) for one in _STRING.findall(told))
    return Call(
        thread,
        name,
        re.sub(r"<(?:\\x..)*>", "", _STRING.sub("", told)),
        int(fd[1]) if fd else -1,
        _text(fd[2]) if fd else "",
        strings,
        int(result),
        _text(result_path or ""),
    )


def _text(escaped: str) -> str:
    return os.fsdecode(bytes.fromhex(escaped.replace("\\x", "")))
