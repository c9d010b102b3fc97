"""Teachers: which influence methods exist, by name. Importing this loads no method."""

from __future__ import annotations

from influence_store.registry import Entry, Registry

METHODS = Registry(
    "influence method",
    "influence_store.influence",
    {
        "delift": Entry(
            "influence_store.influence.delift:Delift",
            "how much showing the source in context helps an LLM produce the target's response",
            extra="train",
        ),
        "delift-se": Entry(
            "influence_store.influence.delift_se:DeliftSe",
            "cosine of two stored embeddings; no LLM",
        ),
    },
)
