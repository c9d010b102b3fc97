"""What a worker does for `label` of pairs: base passes of samples, or sources against targets.

Both come as shards of one work, so that a worker loads its model once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import polars as pl
import pyarrow as pa
from pyroaring import BitMap

from influence_store.errors import UsageError
from influence_store.jobs.label_shards import MethodsAt, check_same, since
from influence_store.jobs.llm_state import read_states, stage_states
from influence_store.jobs.samples import read_samples
from influence_store.schema import tables
from influence_store.schema.catalog import Producer
from influence_store.store.blocks import stage

if TYPE_CHECKING:
    from influence_store.execution import StoreAt
    from influence_store.influence.base import LlmState
    from influence_store.influence.delift import Delift
    from influence_store.protocols import Ids, PairwiseInfluence
    from influence_store.schema.sample import Sample
    from influence_store.store.blocks import StagedBlock
    from influence_store.store.runs import Slot
    from influence_store.store.store import Store


@dataclass(frozen=True)
class BaseShard:
    """Samples (sids) whose base pass is wanted."""

    bits: BitMap


@dataclass(frozen=True)
class PairsShard:
    """Sources (sids), each with the targets to ask it about; `served` are all of the asking's.

    The targets of one asking are prepared together, so their order is part of the question.
    """

    asked: tuple[tuple[int, tuple[int, ...]], ...]
    served: tuple[int, ...]

    @property
    def n_pairs(self) -> int:
        """How many are asked."""
        return sum(len(targets) for _, targets in self.asked)


@dataclass(frozen=True)
class Answered:
    """The block of a shard, its cells that are null, what was spent, and the seconds of asking."""

    block: StagedBlock
    null: int
    spent: dict[str, int]
    seconds: float


@dataclass
class Hands:
    """A pairwise method with its producer, and that of its base passes if it shares them."""

    store: Store
    method: PairwiseInfluence[Any]
    producer: Producer
    base: Producer | None
    _prepared: tuple[tuple[int, ...], Any] = field(default=((), None))

    def state(self, served: tuple[int, ...]) -> Any:
        """The method's state for these targets, kept until others are asked for."""
        if self._prepared[0] != served:
            self._prepared = served, self._prepare(np.array(served, np.int64))
        return self._prepared[1]

    def _prepare(self, served: Ids) -> Any:
        samples = samples_of(self.store, served)
        if self.base is None:
            return self.method.prepare(samples)
        known = read_states(self.store, self.base, served)
        return cast("Delift", self.method).prepare_from(samples, known)


@dataclass(frozen=True)
class AskingPairs:
    """Values of a shard of pairs, or LLM states of a shard of samples, written as one block.

    `methods` is None where the work cannot be sent: its method was given, not named.
    """

    store: StoreAt
    methods: MethodsAt | None
    fingerprints: tuple[str, str]

    @property
    def device(self) -> str:
        """Where the model runs."""
        return self.methods.device if self.methods else "cpu"

    def open(self) -> Hands:
        """Incompatible if method or model are not the driver's."""
        if self.methods is None:
            raise UsageError("this method cannot be sent to workers", hint="leave --engine out")
        store = self.store.open()
        (method,) = self.methods.open(store)
        base = getattr(method, "base", None)
        found = (
            store.find_producer("pairs", method.spec.name, method.facts),
            base and store.find_producer(base.name, base.name, base.facts),
        )
        check_same([one.fingerprint if one else "" for one in found], self.fingerprints)
        assert found[0] is not None
        return Hands(store, method, found[0], found[1])

    def do(self, hands: Hands, shard: BaseShard | PairsShard, slot: Slot) -> Answered:
        """Ask and stage; a value may depend on the targets it was asked with, in the last bits."""
        if isinstance(shard, BaseShard):
            return _base_passes(hands, shard, slot)
        return _pairs(hands, shard, slot)


def samples_of(store: Store, sids: Ids) -> list[Sample]:
    """The samples behind `sids`, in that order."""
    found, samples = read_samples(store, BitMap(sids.astype(np.uint32)))
    by_sid = dict(zip(found.tolist(), samples, strict=True))
    return [by_sid[sid] for sid in sids.tolist()]


def _base_passes(hands: Hands, shard: BaseShard, slot: Slot) -> Answered:
    base: LlmState = cast("Delift", hands.method).base
    assert hands.base is not None
    before, began = base.ledger.facts(), time.monotonic()
    block = stage_states(hands.store, slot, base, hands.base, shard.bits)
    return Answered(block, 0, since(before, base.ledger.facts()), time.monotonic() - began)


def _pairs(hands: Hands, shard: PairsShard, slot: Slot) -> Answered:
    method, ledger = hands.method, hands.method.ledger
    before = ledger.facts()
    state = hands.state(shard.served)
    places = {sid: k for k, sid in enumerate(shard.served)}
    sources = samples_of(hands.store, np.array([source for source, _ in shard.asked], np.int64))
    began = time.monotonic()
    frames = [
        pl.DataFrame(
            {
                "source": source,
                "target": list(targets),
                **method.score(state, sample, np.array([places[one] for one in targets])),
            }
        )
        for (source, targets), sample in zip(shard.asked, sources, strict=True)
    ]
    seconds = time.monotonic() - began
    batch = _batch(pl.concat(frames), method.spec.outputs)
    block = stage(
        hands.store.storage,
        slot.path("pairs"),
        [batch],
        batch.schema,
        kind="pairs",
        bits=BitMap([source for source, _ in shard.asked]),
        producer_id=hands.producer.id,
    )
    null = batch.column(batch.num_columns - 1).null_count
    return Answered(block, null, since(before, ledger.facts()), seconds)


def _batch(frame: pl.DataFrame, outputs: tuple[str, ...]) -> pa.RecordBatch:
    schema = tables.pairs(outputs)
    columns = [
        frame[field.name].fill_nan(None) if field.nullable else frame[field.name]
        for field in schema
    ]
    arrays = [c.to_arrow().cast(f.type) for c, f in zip(columns, schema, strict=True)]
    return pa.record_batch(arrays, schema=schema)
