"""Which command asks a stored selection's question again, of the rows that are there now?"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from influence_store.jobs.question import LAZY

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    from influence_store.schema.catalog import Selection

#: How a selector's `--like SELECTION` stands among the sources of its inputs.
LIKE = "lengths of "


def select_command(row: Selection, dataset: str, weak: Container[str]) -> str:
    """The `select` that would make `row` again from the newest version of `dataset`.

    Kernels of the names `weak` must be accepted. What a selector added to (its `--given`) is only
    stored as a digest: there an ellipsis stands.
    """
    asked = row.facts["inputs"]
    start = ["--from", asked["start"]] if asked.get("start") else []
    words = ["influence-store", "select", dataset, "--budget", str(asked["budget"])]
    accept = " --accept-weak" if row.kernel in weak else ""
    return f"{shlex.join([*words, *start])} {what_is_asked(row)}{accept}"


def what_is_asked(row: Selection) -> str:
    """All options that decide the selection `row`, except how much, and from where it went on.

    Two selections that share them ask the same of different rows, or for a different amount.
    """
    asked = row.facts["inputs"]
    told = _of_function(row, asked) if "parts" in asked else _of_selector(asked)
    return " ".join(["--objective", shlex.quote(asked["objective"]), *told])


def _of_function(row: Selection, asked: Mapping[str, Any]) -> Iterator[str]:
    if row.kernel != "cosine":
        yield _option("--kernel", row.kernel)
    for aim in asked["targets"]:
        weight = "" if aim["weight"] == 1 else f"={aim['weight']:g}"
        yield _option("--target", _name(aim["dataset"]) + weight)
    if asked["given"]:
        yield _option("--given", _name(asked["given"]["dataset"]))
    for quota in asked["quotas"]:
        yield _option("--quota", quota)
    for option in ("tokenizer", "duplicates"):
        if asked[option]:
            yield _option(f"--{option}", asked[option])
    if asked["keep_leaks"]:
        yield "--keep-leaks"
    if asked["optimizer"] != LAZY:
        yield _option("--optimizer", asked["optimizer"])
    yield from _set_and_seed(asked["settings"], asked["seed"])


def _of_selector(asked: Mapping[str, Any]) -> Iterator[str]:
    for source in (asked["kernel"] or "").split(", "):
        if source.startswith(LIKE):
            yield _option("--like", source.removeprefix(LIKE))
        elif ":" in source:  # a stored column and its producer's fingerprint
            yield _option("--by", source.partition(":")[0])
    if asked["given"]:
        yield "--given …"
    yield from _set_and_seed(asked["options"], asked["seed"])


def _set_and_seed(settings: Mapping[str, Any], seed: int) -> Iterator[str]:
    for name, value in settings.items():
        yield _option("--set", f"{name}={value}")
    if seed:
        yield _option("--seed", str(seed))


def _option(name: str, value: str) -> str:
    return f"{name} {shlex.quote(value)}"


def _name(version: str) -> str:
    """`exam` of `exam@3`: asked again, the newest is meant."""
    return version.partition("@")[0]
