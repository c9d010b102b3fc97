"""Questions about Python's standard library, answered by its own documentation strings.

The texts come from the running interpreter (Python Software Foundation License 2.0), so they
differ a little between Python versions; the selection among them is seeded.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODULES = (
    *("argparse", "ast", "base64", "binascii", "bisect", "builtins", "calendar", "cmath"),
    *("collections", "configparser", "contextlib", "copy", "csv", "dataclasses", "datetime"),
    *("decimal", "difflib", "email.utils", "enum", "fnmatch", "fractions", "functools", "glob"),
    *("graphlib", "gzip", "hashlib", "heapq", "html", "inspect", "io", "ipaddress", "itertools"),
    *("json", "linecache", "logging", "math", "mimetypes", "operator", "os.path", "pathlib"),
    *("pprint", "queue", "random", "re", "secrets", "shlex", "shutil", "statistics", "string"),
    *("struct", "tempfile", "textwrap", "time", "timeit", "traceback", "types", "unicodedata"),
    *("urllib.parse", "uuid", "warnings", "weakref", "zipfile", "zlib"),
)
#: Long enough to say something, short enough to fit into an embedder's window.
_LENGTHS = range(60, 701)
_QUESTIONS = (
    "Explain what `{name}` does in Python.",
    "What is `{name}` for?",
    "I came across `{name}` in some Python code. What does it do?",
    "Describe the Python {kind} `{name}` briefly.",
    "Summarise the documentation of `{name}`.",
    "When would I use `{name}` from the Python standard library?",
)
_WITH_SIGNATURE = (
    "Explain this {kind} of the Python standard library.",
    "What does the following Python {kind} do?",
    "Write a docstring for this Python {kind}.",
)


@dataclass(frozen=True)
class Documented:
    """One documented object, asked about; `signature` is the question's input, or empty."""

    name: str
    question: str
    signature: str
    answer: str


def documented(count: int, *, seed: int) -> list[Documented]:
    """`count` objects with different texts, or all there are if fewer."""
    rng = np.random.default_rng(seed)
    by_text: dict[str, tuple[str, str, Any]] = {}
    for name, kind, found in sorted(_public(), key=lambda entry: entry[0]):
        text = inspect.getdoc(found) or ""
        if len(text) in _LENGTHS and "\0" not in text:
            by_text.setdefault(text, (name, kind, found))  # an alias comes only once
    texts = list(by_text)
    chosen = rng.permutation(len(texts))[:count]
    return [_ask(*by_text[texts[k]], texts[k], rng) for k in chosen]


def _public() -> Iterator[tuple[str, str, Any]]:
    """Name, kind and object: functions and classes of the modules, methods of those classes."""
    for module_name in _MODULES:
        module = import_module(module_name)
        for name in getattr(module, "__all__", None) or dir(module):
            found = getattr(module, name)
            if name.startswith("_") or inspect.ismodule(found) or not callable(found):
                continue
            full = name if module_name == "builtins" else f"{module_name}.{name}"
            if not inspect.isclass(found):
                yield full, "function", found
            elif not issubclass(found, BaseException):
                yield full, "class", found
                for part in [part for part in vars(found) if not part.startswith("_")]:
                    method = getattr(found, part, None)
                    if callable(method) and not inspect.isclass(method):
                        yield f"{full}.{part}", "method", method


def _ask(name: str, kind: str, found: Any, text: str, rng: np.random.Generator) -> Documented:
    signature = _signature(name, found)
    if signature and rng.random() < 0.3:
        question = _WITH_SIGNATURE[int(rng.integers(len(_WITH_SIGNATURE)))]
        return Documented(name, question.format(kind=kind), signature, text)
    question = _QUESTIONS[int(rng.integers(len(_QUESTIONS)))]
    return Documented(name, question.format(name=name, kind=kind), "", text)


def _signature(name: str, found: Any) -> str:
    try:
        arguments = str(inspect.signature(found))
    except (TypeError, ValueError):  # many of those written in C have none
        return ""
    # A default that prints its address would differ from run to run.
    return f"{name}{arguments}" if len(arguments) <= 120 and " at 0x" not in arguments else ""
