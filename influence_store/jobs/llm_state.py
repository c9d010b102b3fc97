"""What an LLM knows about each sample by itself: one pass per sample, kept like any other fact.

Teachers need it once per target, so `label` fills it for the seed; estimators may read it as a
feature, and then `fill` needs it for every row.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from influence_store.counted import counted
from influence_store.influence.base import BaseState, LlmState
from influence_store.influence.llm import load_llm
from influence_store.jobs.samples import chunks, read_samples
from influence_store.schema import tables
from influence_store.store.blocks import stage

if TYPE_CHECKING:
    from pathlib import Path

    from influence_store.protocols import Ids
    from influence_store.schema.catalog import Producer
    from influence_store.store.blocks import StagedBlock
    from influence_store.store.runs import ActiveRun, Slot
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

KIND = "llm-state"
#: Rows per published block: what a kill can cost.
CHUNK_ROWS = 128


def state_producer(store: Store, state: LlmState) -> Producer:
    """The producer row of this model, template and cut."""
    return store.producer(KIND, state.name, state.facts, dim=state.dim)


def compute_states(
    store: Store, run: ActiveRun, state: LlmState, producer: Producer, bits: BitMap
) -> int:
    """Run the LLM over the sids of `bits` that have no state yet; return how many those were."""
    assert producer.id is not None
    missing = bits - store.covered(producer.id)
    for part in chunks(missing, CHUNK_ROWS):
        with run.or_fenced():
            block = stage_states(store, run.slot(), state, producer, part)
        run.publish([block], spent=state.ledger.facts())
    return len(missing)


def stage_states(
    store: Store, slot: Slot, state: LlmState, producer: Producer, bits: BitMap
) -> StagedBlock:
    """Run the LLM over the sids of `bits` and write what it says as one block."""
    sids, samples = read_samples(store, bits)
    batch = _batch(sids, state.encode(samples))
    return stage(
        store.storage,
        slot.path(KIND),
        [batch],
        batch.schema,
        kind=KIND,
        bits=bits,
        producer_id=producer.id,
    )


def read_states(store: Store, producer: Producer, sids: Ids) -> BaseState:
    """The stored states of `sids`, in that order."""
    hidden = store.vectors(producer, sids)
    names = [name for name in tables.llm_state(1).names if name not in ("sid", "vector")]
    blocks = store.blocks(KIND, producer_id=producer.id)
    rows: dict[int, dict[str, Any]] = {}
    for batch in store.scan(blocks, ["sid", *names], BitMap(sids.astype(np.uint32))):
        rows.update({row["sid"]: row for row in batch.to_pylist()})
    ordered = [rows[sid] for sid in sids.tolist()]

    def column(name: str, dtype: Any) -> Any:
        return np.array([row[name] for row in ordered], dtype)

    nll = column("nll", np.float64)  # None becomes NaN
    hidden[np.isnan(nll)] = np.nan
    return BaseState(
        hidden=hidden,
        nll=nll,
        d0=column("d0", np.float64),
        n_prompt_tokens=column("n_prompt_tokens", np.int64),
        n_response_tokens=column("n_response_tokens", np.int64),
        n_scored_tokens=column("n_scored_tokens", np.int64),
        truncated=column("truncated", np.bool_),
        empty=column("empty", np.bool_),
    )


@dataclass(frozen=True)
class StateReport:
    """`computed` rows cost one LLM pass each."""

    dataset: str
    fingerprint: str
    computed: int
    reused: int
    llm_passes: int
    llm_tokens: int

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"{self.dataset}: LLM state of {counted(self.computed, 'row')} computed, "
            f"{self.reused:,} known",
            f"  {counted(self.llm_passes, 'LLM pass')}, {counted(self.llm_tokens, 'token')}",
        ]


def label_states(
    store: Store,
    version: Version,
    model: str,
    *,
    cache: Path,
    max_response_tokens: int | None = None,
    max_len: int | None = None,
) -> StateReport:
    """Compute the missing states of all rows of `version` with the LLM at `model`."""
    llm = load_llm(model, cache=cache, max_len=max_len)
    state = LlmState(llm, max_response_tokens=max_response_tokens)
    producer = state_producer(store, state)
    scope = f"label:{producer.fingerprint}:{version.dataset}"
    with store.claim("label", scope, {"dataset": str(version), "method": KIND}) as run:
        computed = compute_states(store, run, state, producer, version.bits)
        report = StateReport(
            dataset=str(version),
            fingerprint=producer.fingerprint,
            computed=computed,
            reused=len(version.bits) - computed,
            llm_passes=state.ledger.llm_passes,
            llm_tokens=state.ledger.llm_tokens,
        )
        run.report(report.facts(), state.ledger.facts())
    return report


def _batch(sids: Ids, state: BaseState) -> pa.RecordBatch:
    dim = state.hidden.shape[1]
    flat = pa.array(np.nan_to_num(state.hidden).astype(np.float32).ravel())
    rest = [
        pa.array(state.nll, from_pandas=True),
        pa.array(state.d0, from_pandas=True),
        pa.array(state.n_prompt_tokens),
        pa.array(state.n_response_tokens),
        pa.array(state.n_scored_tokens),
        pa.array(state.truncated),
        pa.array(state.empty),
    ]
    arrays = [pa.array(sids), pa.FixedSizeListArray.from_arrays(flat, dim), *rest]
    return pa.record_batch(arrays, schema=tables.llm_state(dim))
