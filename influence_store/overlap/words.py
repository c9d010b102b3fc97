"""Which words has a text, as numbers that can be compared fast?

A word is a run of letters and digits, case and punctuation aside; of scripts written without
spaces (Chinese, Japanese) every character is a word. Each becomes 64 bits (xxh3), a run of n words
a polynomial of theirs modulo 2^64. Two different runs share a number with probability about 2^-64
per comparison: "exact" in this package means up to that.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

import numpy as np
import xxhash

if TYPE_CHECKING:
    import numpy.typing as npt

    from influence_store.protocols import Ids

    Hashes = npt.NDArray[np.uint64]

#: How texts are cut into words; part of every fact that rests on it.
RULE = "nfkc-casefold-words-1"

_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(f"[{_UNSPACED}]|[^\\W_{_UNSPACED}]+")
#: Odd, so that multiplying by it loses nothing; the golden ratio in 64 bits.
_BASE = 0x9E3779B97F4A7C15


def words(text: str) -> list[str]:
    """The words of `text` in their order, in lower case."""
    return [found[0] for found in word_spans(text)]


def word_spans(text: str) -> list[re.Match[str]]:
    """The same as matches, which also know where each stands in `normal_form(text)`."""
    return list(_WORD.finditer(normal_form(text)))


def normal_form(text: str) -> str:
    """`text` without differences of case and of Unicode's equivalent spellings."""
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return plain.casefold()


class WordHashes:
    """Words as 64-bit numbers; remembers those it has seen, as texts repeat theirs."""

    def __init__(self) -> None:
        self._known = _Known()

    def __call__(self, text: str) -> Hashes:
        """The number of every word of `text`, (n_words,)."""
        known = self._known
        return np.array([known[word] for word in _WORD.findall(normal_form(text))], np.uint64)


class _Known(dict[str, int]):
    def __missing__(self, word: str) -> int:
        self[word] = number = xxhash.xxh3_64_intdigest(word.encode())
        return number


def ngrams(hashes: Hashes, n: int) -> Hashes:
    """One number for each run of `n` neighbouring words, (max(0, n_words - n + 1),)."""
    n_runs = len(hashes) - n + 1
    if n_runs < 1:
        return np.zeros(0, np.uint64)
    total = np.zeros(n_runs, np.uint64)
    for k in range(n):
        total = total * np.uint64(_BASE) + hashes[k : k + n_runs]
    return total


def shingles(hashes: Hashes, n: int) -> Hashes:
    """The *set* of runs of `n` words, ascending; a shorter text is one run, an empty one none."""
    return np.unique(ngrams(hashes, min(n, len(hashes)) or 1))


def packed(parts: list[Hashes]) -> tuple[Ids, Hashes]:
    """Arrays one behind the other: part k is values[starts[k] : starts[k + 1]]."""
    starts = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=starts[1:])
    return starts, np.concatenate([np.zeros(0, np.uint64), *parts])
