"""Embedders by name, and how a word on the command line becomes one. Importing this loads none."""

from __future__ import annotations

from influence_store.embedding.opening import (
    EMBEDDERS,
    EmbedderOptions,
    absolute_spec,
    open_embedder,
)
from influence_store.embedding.text import DEFAULT_TEMPLATE, embedding_text

__all__ = [
    "DEFAULT_TEMPLATE",
    "EMBEDDERS",
    "EmbedderOptions",
    "absolute_spec",
    "embedding_text",
    "open_embedder",
]
