"""Which stored values teach, and what may be read beside them? The newest that touch a version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from influence_store.errors import NotComputed, NotFound, UsageError
from influence_store.jobs.llm_state import KIND as STATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.protocols import Floats, Ids
    from influence_store.schema.catalog import Producer
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

KINDS = ("pairs", "points", "vectors")


@dataclass(frozen=True)
class Lesson:
    """One output of a teacher, for samples `sids`, and what may be read beside it: the dataset's
    embedder and, where it is stored and wanted, the LLM's base states.
    """

    method: Producer
    output: str
    sids: Ids
    embedder: Producer
    state: Producer | None


@dataclass(frozen=True)
class PairLesson(Lesson):
    """Values of pairs; `targets` and `sources` are positions in `sids`, all (n_pairs,)."""

    targets: Ids
    sources: Ids
    values: Floats


def kind_of_teacher(store: Store, version: Version, method: str) -> str:
    """What the store holds of `method`: `pairs`, `points` or `vectors`; NotFound if nothing."""
    known = {one.name: one.kind for one in store.producers() if one.kind in KINDS}
    if method not in known:
        raise NotFound.named(
            "label set",
            method,
            list(known),
            hint=f"run: influence-store label {version} --method {method} --model PATH --share 5%",
        )
    return known[method]


def output_of(method: Producer, outputs: Sequence[str], output: str | None) -> str:
    """The one of its `outputs` called `output`, or the first; UsageError names those there are."""
    if output is not None and output not in outputs:
        raise UsageError(
            f"{method.name} has no output {output!r}", hint=f"it has {', '.join(outputs)}"
        )
    return output or outputs[0]


def newest_embedder(store: Store, version: Version) -> Producer:
    """The dataset's newest active embedder; NotFound names the command that makes one."""
    active = [p for p, _ in store.active(version.dataset_id) if p.kind == "embedding"]
    if not active:
        raise NotComputed(
            f"{version} has no embeddings",
            hint=f"run: influence-store embed {version} --embedder E",
        )
    return active[-1]


def newest_state(store: Store, sids: Ids) -> Producer | None:
    """The newest LLM state that all of `sids` have."""
    for producer in reversed(store.producers(STATE)):
        assert producer.id is not None
        covered = store.covered(producer.id)
        if all(sid in covered for sid in sids.tolist()):
            return producer
    return None


def demanded_state(store: Store, version: Version, sids: Ids, features: str) -> Producer | None:
    """The LLM state where `features` is `llm`, else None; NotFound where it is not stored."""
    if features != "llm":
        return None
    state = newest_state(store, sids)
    if state is None:
        raise NotComputed(
            "no LLM state is stored for the labelled samples",
            hint=f"run: influence-store label {version} --method llm-state --model PATH",
        )
    return state


def names(producers: Sequence[Producer]) -> list[str]:
    """Their distinct names, oldest first."""
    return list(dict.fromkeys(one.name for one in producers))
