"""Is this an embedder: unit vectors that depend on nothing but their text and the facts?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from influence_store.protocols import Encoded
from influence_store.schema.identity import fingerprint
from influence_store.testing.laws import demand

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from influence_store.protocols import Embedder, Floats

#: Empty, short, long, code, beyond ASCII: what every data set holds sooner or later.
TEXTS = (
    "",
    "one",
    "One plus one is two.",
    "print('hello')\n",
    "größer als 42 °C",
    "a b c " * 200,
    "What is the capital of France? Paris.",
)
#: How far two float32 vectors of one text may lie apart.
_ROUNDING = 1e-5


def check_embedder(make: Callable[[], Embedder], texts: Sequence[str] = TEXTS) -> None:
    """ConformanceError unless the embedders that `make` builds keep every law.

    Vectors are (n, dim) float32 of length one, in the order of the texts; a vector depends on its
    text alone; a second object gives the same ones; facts are JSON and name engine and template.
    ValueError for fewer than 4 or for repeated texts.
    """
    if len(texts) < 4 or len(set(texts)) < len(texts):
        raise ValueError(f"{len(texts)} texts, {len(set(texts))} different; expected 4 or more")
    embedder = make()
    _check_facts(embedder, make())
    before = fingerprint(embedder.facts)
    whole = _encoded(embedder, texts)
    demand(
        bool((np.abs(whole - whole[0]).max(axis=1)[1:] > _ROUNDING).any()),
        "texts differ",
        "all texts have the same vector",
    )
    demand(len(_encoded(embedder, [])) == 0, "no texts, no vectors", "rows for no texts")
    order = [*range(len(texts))][::-1]
    for law, asked, rows, when in (
        ("asking again changes nothing", embedder, order[::-1], "when asked again"),
        ("order does not matter", embedder, order, "in another order"),
        *(("batch size does not matter", embedder, [k], "alone") for k in range(len(texts))),
        ("a run can be resumed", make(), order, "from a second object"),
    ):
        found = _encoded(asked, [texts[k] for k in rows])
        wrong = np.flatnonzero(np.abs(found - whole[rows]).max(axis=1) > _ROUNDING)
        demand(
            not len(wrong),
            law,
            f"the vector of text {rows[wrong[0]] if len(wrong) else ''} differs {when} "
            "from that in one call",
        )
    demand(fingerprint(embedder.facts) == before, "facts do not change", "encoding changed them")


def _check_facts(one: Embedder, other: Embedder) -> None:
    law = "equal facts are equal fingerprints"
    try:
        again = orjson.loads(orjson.dumps(dict(one.facts), option=orjson.OPT_SERIALIZE_NUMPY))
    except TypeError as error:
        demand(False, law, f"facts are no JSON: {error}")
    demand(fingerprint(again) == fingerprint(one.facts), law, "facts change when written as JSON")
    demand(fingerprint(other.facts) == fingerprint(one.facts), law, "two fresh objects differ")
    lacking = sorted({"engine", "template"} - set(one.facts))
    demand(not lacking, law, f"facts hold {sorted(one.facts)}, expected {' and '.join(lacking)}")
    demand(bool(one.name), law, "the embedder has no name")


def _encoded(embedder: Embedder, texts: Sequence[str]) -> Floats:
    """The vectors of one call, (n, dim), once their form is right."""
    law, n = "answers have the form of Encoded", len(texts)
    found: Any = embedder.encode(texts)
    demand(isinstance(found, Encoded), law, f"encode gives a {type(found).__name__}")
    vectors, cut = np.asarray(found.vectors), np.asarray(found.truncated)
    demand(
        vectors.shape == (n, embedder.dim) and vectors.dtype == np.float32,
        law,
        f"vectors are {vectors.dtype} {vectors.shape}, expected float32 {(n, embedder.dim)}",
    )
    demand(
        cut.shape == (n,) and cut.dtype == np.bool_,
        law,
        f"truncated is {cut.dtype} {cut.shape}, expected bool ({n},)",
    )
    off = np.flatnonzero(~(np.abs(np.linalg.norm(vectors, axis=1) - 1) < 1e-4))
    demand(
        not len(off),
        "vectors have length one",
        f"text {off[:1]} has not: not finite, zero, or not normalised",
    )
    return vectors
