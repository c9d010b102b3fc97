"""What does training on each sample cost? Tokens of one tokenizer, counted once and kept.

    cost = Σ over messages of tokens(text) + tokens(role) + 4

Messages are the system prompt, the tool declarations (role system) and every turn; what a sample
does not have costs nothing. Each text is tokenised by itself, and a marker that it spells out
stays text. The 4 stand for what a template puts around role and text: two markers and two line
breaks in ChatML and Gemma, three markers and one break in Llama 3. No chat template is run, so
other templates, and a default system prompt that one adds, differ by a few tokens per sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from influence_store.jobs.samples import chunks, read_samples
from influence_store.jobs.tokenizer import NamedTokenizer, find_tokenizer
from influence_store.progress import progress
from influence_store.schema import tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.protocols import Ids
    from influence_store.schema.catalog import Producer
    from influence_store.schema.sample import Sample
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

KIND = "tokens"
#: Around the role and the text of every message.
MARKERS = 4
#: Rows per published block: what a kill can cost.
CHUNK_ROWS = 4096


@dataclass(frozen=True)
class TokenCounts:
    """`counts` (n,) are the tokens of each sample, all above 0, in the order of `version.sids`.

    `fingerprint` says which tokenizer and recipe counted, `tokenizer` where it was found;
    `computed` samples are new, `reused` were counted before.
    """

    counts: Ids
    fingerprint: str
    tokenizer: str
    computed: int
    reused: int

    def facts(self) -> dict[str, Any]:
        """As stored with a selection: the same whenever it is asked again."""
        return {
            "tokenizer": self.tokenizer,
            "fingerprint": self.fingerprint,
            "total": int(self.counts.sum()),
        }


def token_counts(store: Store, version: Version, tokenizer: str | None = None) -> TokenCounts:
    """The tokens of every sample of `version`; only those not counted yet are read.

    `tokenizer` is a folder, file or hub id, by default the one last used for the dataset; errors
    as `find_tokenizer`.
    """
    named = find_tokenizer(store, version, tokenizer)
    producer = _producer(store, named)
    missing = store.missing(version, producer)
    if missing:
        _count(store, version, named, producer)
    return TokenCounts(
        counts=_stored(store, producer, version.sids),
        fingerprint=producer.fingerprint,
        tokenizer=named.name,
        computed=len(missing),
        reused=len(version.bits) - len(missing),
    )


def sample_tokens(tokenizer: Any, samples: Sequence[Sample]) -> Ids:
    """The cost of each sample (formula above), (n,), by a `tokenizers.Tokenizer`."""
    if not samples:
        return np.zeros(0, np.int64)
    told = [_messages(sample) for sample in samples]
    roles = [role for messages in told for role, _ in messages]
    around = {role: _lengths(tokenizer, [role])[0] + MARKERS for role in set(roles)}
    costs = _lengths(tokenizer, [text for messages in told for _, text in messages])
    costs += np.array([around[role] for role in roles])
    # Every sample ends with an assistant turn, so no part that is summed is empty.
    return np.add.reduceat(costs, np.cumsum([0, *map(len, told[:-1])]))


def _messages(sample: Sample) -> list[tuple[str, str]]:
    """(role, text) of all that is shown."""
    head = [("system", text) for text in (sample.system, sample.tools) if text]
    return head + [(turn.role, turn.text) for turn in sample.turns]


def _lengths(tokenizer: Any, texts: list[str]) -> Ids:
    encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return np.array([len(one) for one in encoded], np.int64)


def _producer(store: Store, named: NamedTokenizer) -> Producer:
    """One per tokenizer file and recipe, wherever the file lies."""
    facts = {"tokenizer": named.digest, "text": f"texts + roles + {MARKERS}", "version": 1}
    return store.producer(KIND, KIND, facts)


def _count(store: Store, version: Version, named: NamedTokenizer, producer: Producer) -> None:
    tokenizer = named.open()
    scope = f"{KIND}:{producer.fingerprint}:{version.dataset}"
    params = {"dataset": str(version), "tokenizer": named.name}
    with store.claim(KIND, scope, params) as run:
        missing = store.missing(version, producer)
        with progress(f"counting tokens of {version}", len(missing)) as advance:
            for part in chunks(missing, CHUNK_ROWS):
                sids, samples = read_samples(store, part)
                arrays = [pa.array(sids), pa.array(sample_tokens(tokenizer, samples))]
                batch = pa.record_batch(arrays, schema=tables.TOKENS)
                block = run.stage(KIND, [batch], batch.schema, part, producer_id=producer.id)
                run.publish([block])
                advance(len(sids))
        run.report({**params, "computed": len(missing)}, {})


def _stored(store: Store, producer: Producer, sids: Ids) -> Ids:
    """`sids` ascend, and so do the places of each block's rows."""
    counts = np.zeros(len(sids), np.int64)
    blocks = store.blocks(KIND, producer_id=producer.id)
    for batch in store.scan(blocks, ["sid", "n_tokens"], BitMap(sids.astype(np.uint32))):
        counts[np.searchsorted(sids, batch["sid"].to_numpy())] = batch["n_tokens"].to_numpy()
    return counts
