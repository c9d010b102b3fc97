"""How is a selection computed within a memory limit? Exactly where that is possible.

memory           exact; 4.8 bytes per pair, 1.9 for coverage by cosine
tiles            exact; hardly any memory, but the kernel is computed about six times
neighbours       coverage by cosine only; 0.5 KB per sample; .995 of exact and more from budgets
                 of 0.5 % on
representatives  some targets stand for all; 4.8 bytes per pair; .99 of exact with 1,000 of
                 them, .996 with 2,000
partitioned      coverage by cosine only; exact in parts, which may be worked on elsewhere; .990
                 to .995 of exact, .998 with a second round among the winners

The figures are those of benchmarks/RESULTS.md, on embeddings of real instruction data. Whatever
the path, what a selection is worth is judged on true values (jobs/proof.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from influence_store.errors import UsageError

PathName = Literal["memory", "tiles", "neighbours", "representatives", "partitioned"]
PATHS: tuple[PathName, ...] = get_args(PathName)

#: Of a kernel in memory, and beside it of the pairs that count once levels have risen.
BYTES_PER_PAIR = 4.8
#: The same where the kernel is one of products of the samples with themselves: a half is kept.
HALF_BYTES_PER_PAIR = 2.8
#: The same for lazy coverage by cosine, which is screened in a half of 16 bits.
SCREENED_BYTES_PER_PAIR = 1.9
#: Exact without memory is offered unasked up to so many pairs: some minutes.
_TILES_AT_MOST = 400_000_000
_FEWEST = 500
_SERVES = {"neighbours": "a neighbour index serves", "partitioned": "a selection in parts serves"}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+) ?([kmgt]?)i?b?", re.IGNORECASE)
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


@dataclass(frozen=True)
class Plan:
    """`path` and, where only some targets are looked at, how many; `told` says so to people."""

    path: PathName
    targets: int
    told: str


def plan(
    n_targets: int,
    n_sources: int,
    *,
    memory: int,
    path: str | None = None,
    sampled: bool = True,
    listed: bool = False,
    per_pair: float = BYTES_PER_PAIR,
    represented: int | None = None,
) -> Plan:
    """The best path for a kernel of this shape within `memory` bytes, or the one called `path`.

    `sampled`: whether some targets can stand for all; `represented` of them do, as many as fit
    unless given. `listed`: whether a neighbour index can serve (coverage of a dataset by its own
    cosine). `per_pair`: the bytes that a pair takes in memory.
    UsageError for a path that is unknown or cannot serve.
    """
    whole = per_pair * n_targets * n_sources
    size = f"{n_targets:,} × {n_sources:,} pairs"
    few = represented or max(_FEWEST, int(memory / (BYTES_PER_PAIR * n_sources)))
    few = min(few, n_targets)
    if path is None:
        path = _automatic(n_targets * n_sources, whole <= memory, sampled=sampled, listed=listed)
    if path == "memory":
        return Plan("memory", n_targets, f"exact: {size} in {_size(whole)} of memory")
    if path == "tiles":
        return Plan("tiles", n_targets, f"exact: {size} computed tile by tile, again and again")
    if path == "representatives":
        if not sampled:
            raise UsageError(
                "some targets can stand for all in coverage of the samples only",
                hint="leave --path out, or: --path tiles",
            )
        told = (
            f"approximate: {few:,} of {n_targets:,} targets stand for all, {_kept(few)} of exact "
            f"where measured ({size} would need {_size(whole)}; see --memory)"
        )
        return Plan("representatives", few, told)
    if path not in PATHS:
        raise UsageError(f"{path!r} is no way to compute", hint=f"--path {' | '.join(PATHS)}")
    if not listed:
        raise UsageError(
            f"{_SERVES[path]} coverage of a dataset by its own cosine only, by lazy greedy",
            hint="leave --path out, or: --path tiles",
        )
    if path == "partitioned":
        told = f"approximate: exact in parts of the {size}, then among the winners"
        return Plan("partitioned", n_targets, told)
    told = f"approximate: nearest neighbours only ({size} would need {_size(whole)}; see --memory)"
    return Plan("neighbours", n_targets, told)


def parse_memory(text: str) -> int:
    """Bytes from `4G`, `512M`, `1.5 GiB`; units are powers of 1,024. UsageError otherwise."""
    found = _SIZE.fullmatch(text.strip())
    size = int(float(found[1]) * 2 ** _UNITS[found[2].lower()]) if found else 0
    if size < 1 << 20:
        raise UsageError(f"{text!r} is no amount of memory", hint="at least 1M, e.g. --memory 8G")
    return size


def _automatic(pairs: int, fits: bool, *, sampled: bool, listed: bool) -> PathName:
    if fits:
        return "memory"
    if listed:
        return "neighbours"
    return "tiles" if pairs <= _TILES_AT_MOST or not sampled else "representatives"


def _kept(representatives: int) -> str:
    """What greedy on so many representatives reached, relative to greedy on all of 5,000."""
    known = {2_000: ".994 to .998", 1_000: ".986 to .994", 0: ".976 to .991"}
    return next(kept for least, kept in known.items() if representatives >= least)


def _size(size: float) -> str:
    if size < 2**20:
        return "less than 1 MiB"
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.0f} MiB"
