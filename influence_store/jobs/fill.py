"""`fill`: the missing cells of an estimator's columns, through ONNX Runtime.

The embedding of every row comes first (for rows that have none). An estimator of pairs then leaves
two tower outputs and one scalar per row: the mean predicted influence on its pinned reference
panel. The panel is part of the estimator, so a row keeps its value when other rows arrive. One of
scores leaves the estimated score alone, also of rows its teacher has measured: an order needs all
rows on one scale, and the teacher's own values stay what they are, in their own column.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from influence_store.counted import agree, counted
from influence_store.errors import Incompatible
from influence_store.execution import LOCAL, StoreAt, spread
from influence_store.jobs.estimators import find_estimator
from influence_store.jobs.features import block_fingerprints, gather
from influence_store.jobs.samples import chunks
from influence_store.network.score_onnx import OnnxScores
from influence_store.progress import progress
from influence_store.schema import tables
from influence_store.store.blocks import stage

if TYPE_CHECKING:
    from pyroaring import BitMap

    from influence_store.execution import Executor
    from influence_store.jobs.estimators import Trained
    from influence_store.network.onnx_estimator import OnnxEstimator
    from influence_store.protocols import Floats, Ids
    from influence_store.store.blocks import StagedBlock
    from influence_store.store.runs import Slot
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

#: Rows per published block: what a kill can cost.
CHUNK_ROWS = 65_536


@dataclass(frozen=True)
class FillReport:
    """`filled` rows are new; `reused` had a value; `null` could not be read by the LLM.

    `provider` is what ran the network: one of ONNX Runtime's, or several where workers differ.
    """

    dataset: str
    estimator: str
    verdict: str
    filled: int
    reused: int
    null: int
    provider: str

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        null = f", {self.null:,} null (the LLM cannot read them whole)" if self.null else ""
        return [
            f"{self.dataset}: {counted(self.filled, 'row')} filled, "
            f"{self.reused:,} had a value{null}",
            f"  estimator {self.estimator}, verdict: {self.verdict}; ran on {self.provider}",
        ]


@dataclass(frozen=True)
class Filled:
    """The block of a shard, how many of its cells are null, and what ran the network."""

    block: StagedBlock
    null: int
    provider: str


@dataclass(frozen=True)
class Filling:
    """The cells of a shard of sids, written as one block; the network lies in the store."""

    store: StoreAt
    estimator: str
    device: str = "cpu"

    def open(self) -> tuple[Store, Trained, OnnxEstimator | OnnxScores]:
        """The network is named by the fingerprint of its producer, so it is the driver's."""
        store = self.store.open()
        trained = find_estimator(store, self.estimator)
        return store, trained, open_network(store, trained)

    def do(
        self, hands: tuple[Store, Trained, OnnxEstimator | OnnxScores], shard: BitMap, slot: Slot
    ) -> Filled:
        """Predict and stage."""
        store, trained, estimator = hands
        batch = predict(store, trained, estimator, shard)
        kind, producer_id = trained.producer.kind, trained.producer.id
        block = stage(
            store.storage,
            slot.path(kind),
            [batch],
            batch.schema,
            kind=kind,
            bits=shard,
            producer_id=producer_id,
        )
        return Filled(block, batch["influence"].null_count, estimator.provider)


def fill(
    store: Store, version: Version, trained: Trained, executor: Executor = LOCAL
) -> FillReport:
    """Compute the missing cells of `trained` for `version`, and activate it for the dataset.

    Incompatible if rows have no vector of the estimator's own embedder (or no LLM state, where
    it reads one): the message names the command that makes them.
    """
    producer, estimator = trained.producer, open_network(store, trained)
    scope = f"fill:{producer.fingerprint}:{version.dataset}"
    params = {"dataset": str(version), "estimator": producer.name}
    with store.claim("fill", scope, params) as run:
        missing = store.missing(version, producer)
        require_inputs(store, version, missing, trained)
        null, providers = 0, set()
        work = Filling(StoreAt.of(store), producer.fingerprint)
        hands, shards = (store, trained, estimator), chunks(missing, CHUNK_ROWS)
        with progress(f"filling {producer.name}", len(missing)) as advance:
            for done in spread(executor, run, work, shards, hands):
                null += done.null
                providers.add(done.provider)
                run.publish([done.block])
                advance(done.block.n_rows)
        assert producer.id is not None
        store.activate(version.dataset_id, producer.id, f"artifact:{trained.row.artifact}")
        ran_on = ", ".join(sorted(providers)) or estimator.provider
        report = _report(version, trained, ran_on, len(missing), null)
        run.report(report.facts(), {"fills": len(missing)})
    return report


def open_network(store: Store, trained: Trained) -> OnnxEstimator | OnnxScores:
    """Of pairs or of scores."""
    return trained.open(store) if trained.of_pairs else trained.open_scores(store)


def predict(
    store: Store, trained: Trained, estimator: OnnxEstimator | OnnxScores, part: BitMap
) -> pa.RecordBatch:
    """The cells of the rows `part`, one row per sid in their order."""
    sids = np.asarray(part.to_array(), np.int64)
    features, usable = gather(store, sids, trained.features, trained.embedder, trained.state)
    estimator.check(features, block_fingerprints(trained.features, trained.embedder, trained.state))
    if isinstance(estimator, OnnxScores):
        return _batch(sids, estimator.scores(features), usable)
    source_vectors = estimator.source_vectors(features)
    influence = estimator.panel_influence(source_vectors)
    return _batch(sids, influence, usable, estimator.target_vectors(features), source_vectors)


def _batch(sids: Ids, influence: Floats, usable: Any, *sides: Floats) -> pa.RecordBatch:
    """One row per sid; `sides` are the vectors as target and as source, or none."""
    width = sides[0].shape[1] if sides else 0
    vectors = [pa.FixedSizeListArray.from_arrays(pa.array(side.ravel()), width) for side in sides]
    return pa.record_batch(
        [pa.array(sids), pa.array(influence, mask=~usable), *vectors],
        schema=tables.estimate(width),
    )


def require_inputs(store: Store, version: Version, missing: BitMap, trained: Trained) -> None:
    """Incompatible if a row of `missing` lacks what the estimator reads."""
    for producer, verb in (
        (trained.embedder, "embed"),
        (trained.state, "label --method llm-state"),
    ):
        if producer is None:
            continue
        assert producer.id is not None
        lacking = len(missing - store.covered(producer.id))
        if lacking:
            raise Incompatible(
                f"{trained.producer.name} reads {producer.name} "
                f"({producer.fingerprint[:12]}), which {counted(lacking, 'row')} of {version} "
                f"{agree(lacking, 'does', 'do')} not have",
                hint=f"run: influence-store {verb} {version}, with exactly that model",
            )


def _report(
    version: Version, trained: Trained, provider: str, filled: int, null: int
) -> FillReport:
    return FillReport(
        dataset=str(version),
        estimator=trained.producer.name,
        verdict=trained.row.verdict,
        filled=filled,
        reused=len(version.bits) - filled,
        null=null,
        provider=provider,
    )
