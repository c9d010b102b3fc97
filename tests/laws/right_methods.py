"""Small methods without a model that keep every law, and the samples they are asked about."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from influence_store.protocols import InfluenceSpec, Ledger, PointValues, PointVectors
from influence_store.schema.sample import Sample

LETTERS = "abcdefghij"
LIMIT = 200
SAMPLES = [
    Sample.of(f"Spell {word}", word)
    for word in ("abba", "cabbage", "jig", "deface", "hedge", "bead", "aghi", "feed")
]
TOO_LONG = Sample.of("Spell a lot", "a" * LIMIT + "b")


def letters(sample):
    """How often each of ten letters occurs in the response."""
    return np.array([sample.response.count(letter) for letter in LETTERS], np.float64)


class Counting:
    """What the methods of this file share: a limit in characters, a ledger, facts."""

    def __init__(self, weight=1.0):
        self.weight = weight
        self.ledger = Ledger()

    @property
    def facts(self):
        return {"method": self.spec.name, "version": 1, "weight": self.weight, "limit": LIMIT}

    def cut(self, samples):
        return np.array([len(sample.response) > LIMIT for sample in samples], np.bool_)

    def count(self, samples):
        """(n,) tokens; what does not fit is not read."""
        n = np.array([len(s.response) for s in samples], np.int64) * ~self.cut(samples)
        self.ledger.llm_passes += int((n > 0).sum())
        self.ledger.llm_tokens += int(n.sum())
        return n.astype(np.int64)


class Variety(Counting):
    """Pointwise: distinct letters per letter."""

    spec = InfluenceSpec(
        "variety", ("variety", "variety-raw"), "harder", "none", "pointwise", bounds=(0.0, 2.0)
    )

    def score(self, samples):
        n = self.count(samples)
        raw = np.array([(letters(s) > 0).sum() for s in samples], np.float64)
        raw[n == 0] = np.nan
        share = self.weight * raw / np.maximum(n, 1)
        return PointValues({"variety": share, "variety-raw": raw}, n, self.cut(samples))


class Overlap(Counting):
    """Bilinear: target letters in halves, source letters in presence; the sides differ."""

    spec = InfluenceSpec("overlap", ("overlap",), "helpful", "none", "bilinear")
    dim = len(LETTERS)
    symmetric = False

    def vectors(self, samples, side):
        n = self.count(samples)
        rows = np.array([self.row(s, side) for s in samples]).reshape(-1, self.dim)
        rows[n == 0] = np.nan
        return PointVectors(rows.astype(np.float32), n, self.cut(samples))

    def row(self, sample, side):
        return letters(sample) / 2 if side == "target" else self.weight * (letters(sample) > 0)

    @staticmethod
    def reference(target, source):
        return sum(target.response.count(a) / 2 for a in set(source.response) & set(LETTERS))


class Twin(Overlap):
    """Bilinear and symmetric."""

    spec = replace(Overlap.spec, name="twin", outputs=("twin",))
    symmetric = True

    def row(self, sample, side):
        return letters(sample) + 1


class Cover(Counting):
    """Pairwise: the share of the target's letters that the source has too."""

    spec = InfluenceSpec("cover", ("cover", "cover-count"), "helpful", "none", bounds=(0.0, 1.0))

    def prepare(self, targets):
        return {"texts": [t.response for t in targets], "n": self.count(targets)}

    def score(self, state, source, targets):
        rows = [self.pair(state, source, i) for i in targets]
        values = np.array(rows, np.float32).reshape(-1, 2)
        return {"cover": values[:, 0], "cover-count": values[:, 1]}

    def pair(self, state, source, i):
        text, n = state["texts"][i], state["n"][i]
        if not n or len(source.response) > LIMIT:
            return np.nan, np.nan
        self.ledger.llm_passes += 1
        self.ledger.llm_tokens += int(n)
        hits = sum(letter in source.response for letter in text)
        return hits / n, self.weight * hits

    @staticmethod
    def reference(target, source):
        return np.mean([letter in source.response for letter in target.response])
