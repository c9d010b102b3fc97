"""Scores of 5 sources for 3 targets, and manifests that say all that must be said of them."""

from __future__ import annotations

import numpy as np

IDENTITY_FIELDS = {
    "method": "foreign",
    "kind": "pairwise",
    "higher_means": "helpful",
    "model_id": "org/model",
    "model_revision": "0123abc",
    "dtype": "float32",
    "template_id": "chat",
    "tokenizer_hash": None,
    "max_len": 512,
    "seed": 0,
    "code_version": "lib 1.0",
}
#: Not square, so that a transposed matrix cannot pass: 3 targets, 5 sources.
S = np.arange(15, dtype=np.float32).reshape(3, 5) / 8 - 1


def ids(n, mark=0):
    return [bytes([mark, *[0] * 14, k]).hex() for k in range(n)]


TARGETS, SOURCES = ids(3, 1), ids(5, 2)


def pairs(**more):
    return {**IDENTITY_FIELDS, "target_ids": TARGETS, "source_ids": SOURCES, **more}


def points(n=5, **more):
    return {**IDENTITY_FIELDS, "kind": "pointwise", "sample_ids": ids(n), **more}
