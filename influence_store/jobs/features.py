"""The feature blocks an estimator reads, gathered from stored cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pyroaring import BitMap

from influence_store.jobs.llm_state import read_states
from influence_store.network.features import (
    EMBEDDING,
    LENGTHS,
    LLM_HIDDEN,
    LLM_SCALARS,
    Features,
    lengths,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from influence_store.protocols import Floats, Ids
    from influence_store.schema.catalog import Producer
    from influence_store.store.store import Store

FREE = (EMBEDDING, LENGTHS)
LLM = (EMBEDDING, LENGTHS, LLM_HIDDEN, LLM_SCALARS)


def gather(
    store: Store, sids: Ids, names: Sequence[str], embedder: Producer, state: Producer | None
) -> tuple[Features, npt.NDArray[np.bool_]]:
    """Features of `sids` in that order, and which rows are usable.

    A row is unusable where the LLM could not read the sample whole; its LLM blocks are zero.
    """
    blocks: dict[str, Floats] = {}
    usable = np.ones(len(sids), np.bool_)
    if EMBEDDING in names:
        blocks[EMBEDDING] = store.vectors(embedder, sids)
    if LENGTHS in names:
        blocks[LENGTHS] = _lengths(store, sids)
    if LLM_HIDDEN in names or LLM_SCALARS in names:
        assert state is not None
        base = read_states(store, state, sids)
        usable = ~np.isnan(base.nll)
        scalars = np.stack([base.nll, base.d0, np.log1p(base.n_prompt_tokens)], axis=1)
        scalars = np.column_stack([scalars, np.log1p(base.n_response_tokens)])
        blocks[LLM_HIDDEN] = np.nan_to_num(base.hidden).astype(np.float32)
        blocks[LLM_SCALARS] = np.nan_to_num(scalars).astype(np.float32)
    return Features.of(blocks).select(names), usable


def block_fingerprints(
    names: Sequence[str], embedder: Producer, state: Producer | None
) -> dict[str, str]:
    """Which producer each block comes from; lengths come from the text itself."""
    origin = {EMBEDDING: embedder, LLM_HIDDEN: state, LLM_SCALARS: state}
    return {name: made.fingerprint for name in names if (made := origin.get(name)) is not None}


def _lengths(store: Store, sids: Ids) -> Floats:
    """Characters of prompt and response: known for every row, whatever the model."""
    prompt = np.zeros(len(sids), np.int64)
    response = np.zeros(len(sids), np.int64)
    order = np.argsort(sids, kind="stable")
    wanted = BitMap(sids.astype(np.uint32))
    columns = ["sid", "prompt_chars", "response_chars"]
    for batch in store.scan(store.blocks("samples"), columns, wanted):
        places = order[np.searchsorted(sids[order], batch["sid"].to_numpy())]
        prompt[places] = batch["prompt_chars"].to_numpy()
        response[places] = batch["response_chars"].to_numpy()
    return lengths(prompt.tolist(), response.tolist())
