"""A lexical stand-in that needs no model: hashed words and word pairs.

Two texts are close exactly if they share words; meaning plays no part. It serves tests, and
machines that cannot get a model (`--embedder hashing`). Feature hashing with signs as in
Weinberger et al. 2009 (arXiv 0902.2206), term weights 1 + ln(count).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from math import log
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.embedding.text import DEFAULT_TEMPLATE, check_template
from influence_store.embedding.vectors import unit_rows
from influence_store.errors import UsageError
from influence_store.protocols import Encoded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from influence_store.embedding.opening import EmbedderOptions

#: An edit of the recipe below is another embedder: raise this number.
RECIPE = 1

#: More would only make the vectors emptier.
LARGEST_DIM = 16_384

_WORD = re.compile(r"\w+|[^\w\s]")
_DIM = re.compile(r"[0-9]{1,5}")


def open_hashing(location: str, options: EmbedderOptions) -> HashingEmbedder:
    """`hashing`, or `hashing:DIM`."""
    if location and not (_DIM.fullmatch(location) and 2 <= int(location) <= LARGEST_DIM):
        raise UsageError(
            f"hashing:{location}: expected a dimension of at least 2, at most {LARGEST_DIM:,}",
            hint="say hashing:384",
        )
    return HashingEmbedder(int(location or 384), template=options.template)


class HashingEmbedder:
    """Words and neighbouring word pairs, hashed with a sign into `dim` unit-length numbers."""

    def __init__(self, dim: int = 384, *, template: str = DEFAULT_TEMPLATE) -> None:
        if dim < 2:
            raise ValueError(f"dim is {dim}, expected at least 2")
        self.name = f"hashing-{dim}"
        self.dim = dim
        self._template = check_template(template)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything that changes a vector."""
        return {
            "engine": "hashing",
            "recipe": RECIPE,
            "dim": self.dim,
            "template": self._template,
            "normalise": True,
        }

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Vectors (n, dim); nothing is ever truncated. An empty text has a vector too."""
        raw = np.zeros((len(texts), self.dim))
        for row, text in zip(raw, texts, strict=True):
            for term, count in Counter(_terms(text)).items():
                code = _hash(term)
                row[(code >> 1) % self.dim] += (1 + log(count)) * (1 if code & 1 else -1)
        return Encoded(unit_rows(raw, self.name), np.zeros(len(texts), np.bool_))


def _terms(text: str) -> Iterator[str]:
    # The end marks give the empty text one term and any text an odd number of them.
    words = ["", *_WORD.findall(unicodedata.normalize("NFC", text).lower()), ""]
    yield from words[1:-1]
    for left, right in pairwise(words):
        yield f"{left} {right}"


@lru_cache(maxsize=1 << 17)
def _hash(term: str) -> int:
    return int.from_bytes(blake2b(term.encode(), digest_size=8).digest(), "big")
