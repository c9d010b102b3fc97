"""Arrow schemas of the blocks: what each kind of LanceDB table holds, column by column.

A block is written once, its rows in ascending order of its key, and never changed. `sid` is the
store's dense integer for one distinct content; `sample_id` is the content hash behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from influence_store.schema.identity import ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SID = pa.field("sid", pa.int64(), nullable=False)

#: One row per distinct content, shared by all datasets.
SAMPLES = pa.schema(
    [
        SID,
        pa.field("sample_id", pa.binary(ID_BYTES), nullable=False),
        pa.field("prompt", pa.string(), nullable=False),
        pa.field("response", pa.string(), nullable=False),
        pa.field("system", pa.string(), nullable=False),
        pa.field("tools", pa.string(), nullable=False),
        pa.field("turns", pa.string(), nullable=False),  # JSON [[role, text], …]
        pa.field("prompt_chars", pa.int32(), nullable=False),
        pa.field("response_chars", pa.int32(), nullable=False),
    ]
)

#: Where a dataset got a content from; one row per content that is new to the dataset.
ROWS = pa.schema(
    [
        SID,
        pa.field("file", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("raw", pa.binary(), nullable=False),  # the record as it stood in the file
        pa.field("extra", pa.string(), nullable=False),  # JSON object of unknown keys
    ]
)

#: What training on a content costs, as counted by one tokenizer.
TOKENS = pa.schema([SID, pa.field("n_tokens", pa.int64(), nullable=False)])

#: What a model that was trained in a trial makes of held-out contents: `loss` per token in nats (of
#: the probe a squared distance); ROUGE-L and whether the final answer is right, where asked.
TRIAL = pa.schema(
    [
        SID,
        pa.field("loss", pa.float64(), nullable=False),
        pa.field("rouge_l", pa.float64()),
        pa.field("exact", pa.float64()),
    ]
)

#: The order of a selection; `gain` is what the pick added, null where the selector has no such.
SELECTION = pa.schema(
    [
        pa.field("rank", pa.int64(), nullable=False),
        SID,
        pa.field("gain", pa.float64()),
    ]
)


#: Near-duplicate pairs, each once with `twin` < `sid`; the producer says what is compared.
DUPLICATES = pa.schema(
    [
        SID,
        pa.field("twin", pa.int64(), nullable=False),
        pa.field("similarity", pa.float64(), nullable=False),  # in [0, 1], 1 = the same
    ]
)

#: Rows of a pool that hold something of a target row: how, how much, and the longest shared text.
LEAKS = pa.schema(
    [
        SID,
        pa.field("target", pa.int64(), nullable=False),
        pa.field("how", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("words", pa.int64(), nullable=False),
        pa.field("overlap", pa.string(), nullable=False),
    ]
)


def minhash(n_bands: int) -> pa.Schema:
    """What is kept of each content's set of word runs, to find the rows that may be like it."""
    return pa.schema([SID, pa.field("keys", pa.list_(pa.uint64(), n_bands), nullable=False)])


def embedding(dim: int) -> pa.Schema:
    """One vector per content; `truncated` where the text was longer than the model reads."""
    return pa.schema(
        [SID, _vector("vector", dim), pa.field("truncated", pa.bool_(), nullable=False)]
    )


def llm_state(dim: int) -> pa.Schema:
    """What one base pass of a language model tells about a sample by itself.

    `vector` is the mean hidden state, zero where `nll` (nats per token) and `d0` are null because
    the sample did not fit the model (`truncated`) or has no response (`empty`).
    """
    counts = ("n_prompt_tokens", "n_response_tokens", "n_scored_tokens")
    return pa.schema(
        [
            SID,
            _vector("vector", dim),
            pa.field("nll", pa.float64()),
            pa.field("d0", pa.float64()),
            *[pa.field(name, pa.int64(), nullable=False) for name in counts],
            pa.field("truncated", pa.bool_(), nullable=False),
            pa.field("empty", pa.bool_(), nullable=False),
        ]
    )


def estimate(width: int) -> pa.Schema:
    """Tower outputs and the scalar influence of each content, as predicted by one estimator.

    An estimator of scores has no vectors, `width` 0; its `influence` is the estimated score.
    """
    sides = ("target_vector", "source_vector") if width else ()
    return pa.schema(
        [
            SID,
            pa.field("influence", pa.float32()),  # null where the LLM could not read the row
            *[_vector(side, width) for side in sides],
        ]
    )


def points(outputs: Sequence[str]) -> pa.Schema:
    """What a pointwise method says of each content; null where it could not be measured.

    Why it could not: `truncated` = too long for the model, else `n_tokens` 0 = nothing to score,
    else the method leaves the value undefined.
    """
    return pa.schema([SID, *[pa.field(output, pa.float64()) for output in outputs], *_HOW_MEASURED])


def vectors(dim: int) -> pa.Schema:
    """What a bilinear method keeps of each content; the vector is zero where not `measured`."""
    return pa.schema(
        [
            SID,
            _vector("vector", dim),
            pa.field("measured", pa.bool_(), nullable=False),
            *_HOW_MEASURED,
        ]
    )


_HOW_MEASURED = (
    pa.field("n_tokens", pa.int64(), nullable=False),
    pa.field("truncated", pa.bool_(), nullable=False),
)


def neighbours(k: int) -> pa.Schema:
    """The k contents nearest to each content when it was indexed, and to which it is near itself.

    As a target: `sources` (sids), best first, and their `similarities`; −1 and −inf where there
    are fewer. As a source: `targets`, the contents indexed before among whose k nearest this one
    is, and `target_similarities`: little-endian int32 sids and float32 values, packed. By the
    cells of the producer: `cell` is where it was filed, `typical` its mean similarity to all.
    """
    return pa.schema(
        [
            SID,
            pa.field("cell", pa.int32(), nullable=False),
            pa.field("typical", pa.float32(), nullable=False),
            pa.field("sources", pa.list_(pa.int32(), k), nullable=False),
            _vector("similarities", k),
            pa.field("targets", pa.binary(), nullable=False),
            pa.field("target_similarities", pa.binary(), nullable=False),
        ]
    )


def pairs(outputs: Mapping[str, str] | tuple[str, ...]) -> pa.Schema:
    """Teacher values of labelled pairs; a null value means the pair could not be scored."""
    return pa.schema(
        [
            pa.field("source", pa.int64(), nullable=False),
            pa.field("target", pa.int64(), nullable=False),
            *[pa.field(output, pa.float32()) for output in outputs],
        ]
    )


def _vector(name: str, dim: int) -> pa.Field:
    return pa.field(name, pa.list_(pa.float32(), dim), nullable=False)
