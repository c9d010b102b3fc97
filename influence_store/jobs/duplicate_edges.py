"""Which pairs of rows are alike? Keys, candidates and cosines, shard by shard, by whoever is free.

A shard is compared as one: each of its rows with all rows that stand before it. What a worker needs
for that (the index of all keys, or all vectors) it reads once from the store. The order of the rows
is fixed when the run begins, so shards and their edges depend on neither engine nor workers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from influence_store.errors import UsageError
from influence_store.execution import LOCAL, StoreAt, spread
from influence_store.jobs.embed import embedder_of
from influence_store.jobs.samples import chunks, read_samples
from influence_store.overlap import minhash, words
from influence_store.overlap.minhash import BandIndex
from influence_store.overlap.twins import twins_within
from influence_store.progress import progress
from influence_store.schema import tables
from influence_store.store import grid
from influence_store.store.blocks import stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.execution import Executor
    from influence_store.overlap.minhash import Keys
    from influence_store.protocols import Doubles, Floats, Ids
    from influence_store.schema.catalog import Producer
    from influence_store.schema.sample import Sample
    from influence_store.store.blocks import StagedBlock
    from influence_store.store.runs import ActiveRun, Slot
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

WORDS, TWINS = "words", "twins"

#: Rows per published block: what a kill can cost.
KEY_ROWS, WORD_ROWS, TWIN_ROWS = 8192, 32_768, 4096
#: More pairs of one publication mean thresholds at which nearly everything is alike.
MAX_PAIRS = 50_000_000


@dataclass(frozen=True)
class Alike:
    """From where on two rows are near duplicates; a stored edge rests on all of it.

    `jaccard` and `cosine` in (0, 1], higher finds fewer; `shingle` words make a run; `permutations`
    in bands of `band` find the candidates (see `overlap/minhash.py`).
    """

    jaccard: float = 0.8
    cosine: float = 0.95
    shingle: int = 3
    permutations: int = 128
    band: int = 4
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("jaccard", "cosine"):
            if not 0 < (value := getattr(self, name)) <= 1:
                raise UsageError(f"--{name} {value:g} is not above 0 and at most 1", hint="try 0.8")

    @property
    def n_bands(self) -> int:
        """Keys per row."""
        return self.permutations // self.band

    def key_facts(self) -> dict[str, Any]:
        """What a stored key rests on."""
        return {
            "words": words.RULE,
            "scheme": minhash.SCHEME,
            "shingle": self.shingle,
            "permutations": self.permutations,
            "band": self.band,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Arrivals:
    """Sids that were compared before, then those to be compared: each with all before it."""

    before: BitMap
    new: BitMap

    @classmethod
    def of(cls, store: Store, version: Version, producer: Producer) -> Arrivals:
        """Of the rows of `version`, those that `producer` has not compared are new."""
        assert producer.id is not None
        before = store.covered(producer.id)
        return cls(before, version.bits - before)

    @property
    def sids(self) -> Ids:
        """All of them in that order."""
        parts = [self.before.to_array(), self.new.to_array()]
        return np.concatenate([np.asarray(part, np.int64) for part in parts])

    def spans(self, n_rows: int) -> Iterator[range]:
        """Positions of the new ones, at most `n_rows` at a time."""
        stop = len(self.before) + len(self.new)
        for start in range(len(self.before), stop, n_rows):
            yield range(start, min(start + n_rows, stop))


@dataclass(frozen=True)
class Keying:
    """The MinHash keys of a shard of sids, written as one block."""

    store: StoreAt
    alike: Alike
    producer_id: int
    device: str = "cpu"

    def open(self) -> Store:
        """The store alone: texts are read shard by shard."""
        return self.store.open()

    def do(self, store: Store, shard: BitMap, slot: Slot) -> StagedBlock:
        """The block."""
        alike, schema = self.alike, tables.minhash(self.alike.n_bands)
        sets = _shingles(store, shard, alike.shingle)
        keys = minhash.band_keys(sets, alike.permutations, alike.band, alike.seed)
        flat = pa.FixedSizeListArray.from_arrays(pa.array(keys.ravel()), alike.n_bands)
        batch = pa.record_batch([pa.array(shard.to_array(), pa.int64()), flat], schema=schema)
        path = slot.path("minhash")
        return stage(
            store.storage,
            path,
            [batch],
            schema,
            kind="minhash",
            bits=shard,
            producer_id=self.producer_id,
        )


@dataclass(frozen=True)
class WordPairs:
    """Rows of a shard that share words with rows before them; their keys lie in the store."""

    store: StoreAt
    alike: Alike
    arrivals: Arrivals
    keys_id: int
    producer_id: int
    device: str = "cpu"

    compares: ClassVar = "words"

    @classmethod
    def of(
        cls, store: Store, alike: Alike, arrivals: Arrivals, keys: Producer, producer: Producer
    ) -> WordPairs:
        """By keys that are stored."""
        assert keys.id is not None
        assert producer.id is not None
        return cls(StoreAt.of(store), alike, arrivals, keys.id, producer.id)

    def shards(self) -> Iterator[range]:
        """The new rows, by their positions."""
        return self.arrivals.spans(WORD_ROWS)

    def open(self) -> tuple[Store, Ids, BandIndex]:
        """The index of the keys of all rows."""
        return self.hands(self.store.open())

    def hands(self, store: Store) -> tuple[Store, Ids, BandIndex]:
        """The same of a store that is open."""
        sids = self.arrivals.sids
        keys = _read_keys(store, self.keys_id, BitMap(sids.astype(np.uint32)), self.alike.n_bands)
        return store, sids, BandIndex(keys[np.searchsorted(np.sort(sids), sids)])

    def do(self, hands: tuple[Store, Ids, BandIndex], shard: range, slot: Slot) -> StagedBlock:
        """The edges of the candidates that are as alike as they seemed."""
        from influence_store.overlap.jaccard import jaccard

        store, sids, index = hands
        a, b = index.candidates(shard.start, shard.stop, limit=MAX_PAIRS)
        involved, places = np.unique(np.concatenate([sids[a], sids[b]]), return_inverse=True)
        sets = _shingles(store, BitMap(involved.astype(np.uint32)), self.alike.shingle)
        left, right = np.split(places, 2)
        similarity = jaccard(*words.packed(sets), left, right)
        near = similarity >= self.alike.jaccard
        batch = _edges(sids[a][near], sids[b][near], similarity[near])
        return _stage_edges(store, slot, self.producer_id, batch, sids[shard.start : shard.stop])


@dataclass(frozen=True)
class TwinPairs:
    """Rows of a shard whose vectors point where those of rows before them do."""

    store: StoreAt
    embedder: str
    cosine: float
    arrivals: Arrivals
    producer_id: int
    device: str = "cpu"

    compares: ClassVar = "embeddings"

    @classmethod
    def of(cls, store: Store, alike: Alike, arrivals: Arrivals, producer: Producer) -> TwinPairs:
        """By the embedder that `producer` rests on."""
        assert producer.id is not None
        embedder = producer.facts["embedder"]
        return cls(StoreAt.of(store), embedder, alike.cosine, arrivals, producer.id)

    def shards(self) -> Iterator[range]:
        """The new rows, by their positions."""
        return self.arrivals.spans(TWIN_ROWS)

    def open(self) -> tuple[Store, Ids, Floats]:
        """The stored vectors of all rows, (n, dim)."""
        return self.hands(self.store.open())

    def hands(self, store: Store) -> tuple[Store, Ids, Floats]:
        """The same of a store that is open; the embedder is named by its fingerprint."""
        producers = store.producers("embedding")
        embedder = next(one for one in producers if one.fingerprint == self.embedder)
        sids = self.arrivals.sids
        return store, sids, store.vectors(embedder, sids)

    def do(self, hands: tuple[Store, Ids, Floats], shard: range, slot: Slot) -> StagedBlock:
        """The edges, exact whatever the shard."""
        store, sids, vectors = hands
        found = twins_within(vectors, self.cosine, shard.start, shard.stop, limit=MAX_PAIRS)
        batch = _edges(sids[found.a], sids[found.b], found.similarity)
        return _stage_edges(store, slot, self.producer_id, batch, sids[shard.start : shard.stop])


def compare(store: Store, version: Version, alike: Alike, executor: Executor = LOCAL) -> int:
    """Compare the rows of `version` that never were, with all that were; how many those are."""
    producers = edge_producers(store, version, alike)
    missing = BitMap.union(BitMap(), *[store.missing(version, one) for one in producers])
    if not missing:
        return 0
    params = {"dataset": str(version), **asdict(alike)}
    # Two runs at once could each miss what the other adds, so only one compares at a time.
    with store.claim("duplicates", "duplicates", params) as run:
        for producer in producers:
            arrivals = Arrivals.of(store, version, producer)
            if not arrivals.new:
                continue
            work: WordPairs | TwinPairs
            if producer.name == WORDS:
                keys = _make_keys(store, run, arrivals.before | arrivals.new, alike, executor)
                work = WordPairs.of(store, alike, arrivals, keys, producer)
            else:
                work = TwinPairs.of(store, alike, arrivals, producer)
            _publish_edges(store, run, work, f"{work.compares} of {version}", executor)
        run.report({"compared": len(missing), "dataset": str(version)}, {"compared": len(missing)})
    return len(missing)


def edge_producers(store: Store, version: Version, alike: Alike) -> list[Producer]:
    """Of words, and of twins where every row of `version` has a vector."""
    facts = {**alike.key_facts(), "jaccard": alike.jaccard}
    producers = [store.producer("duplicates", WORDS, facts)]
    if embedder := embedder_of(store, version):
        facts = {"embedder": embedder.fingerprint, "cosine": alike.cosine}
        producers.append(store.producer("duplicates", TWINS, facts))
    return producers


def read_edges(store: Store, producer: Producer) -> tuple[Ids, Ids, Doubles]:
    """Sids a > b and their similarity, of all stored edges of `producer`."""
    batches = [
        batch
        for block in store.blocks("duplicates", producer_id=producer.id)
        for batch in grid.open_block(store.storage, block).scan(tables.DUPLICATES.names)
    ]
    table = pa.Table.from_batches(batches, schema=tables.DUPLICATES)
    a, b, similarity = (column.to_numpy() for column in table.columns)
    return a, b, similarity


def _publish_edges(
    store: Store, run: ActiveRun, work: WordPairs | TwinPairs, told: str, executor: Executor
) -> None:
    # Where others work, this process need not hold what they do.
    here: Any = None if executor.elsewhere else work.hands(store)
    with progress(f"comparing {told}", len(work.arrivals.new)) as advance:
        for block in spread(executor, run, work, work.shards(), here):
            run.publish([block])
            advance(len(block.bits))


def _make_keys(
    store: Store, run: ActiveRun, bits: BitMap, alike: Alike, executor: Executor
) -> Producer:
    """The producer that then has keys of all `bits`; those it lacks are made."""
    producer = store.producer("minhash", "words", alike.key_facts(), dim=alike.n_bands)
    assert producer.id is not None
    work = Keying(StoreAt.of(store), alike, producer.id)
    shards = chunks(bits - store.covered(producer.id), KEY_ROWS)
    for block in spread(executor, run, work, shards, store):
        run.publish([block])
    return producer


def _read_keys(store: Store, producer_id: int, bits: BitMap, n_bands: int) -> Keys:
    """The stored keys of `bits`, ascending, (n, n_bands)."""
    out, place = np.zeros((len(bits), n_bands), np.uint64), np.asarray(bits.to_array(), np.int64)
    blocks = store.blocks("minhash", producer_id=producer_id)
    for batch in store.scan(blocks, ["sid", "keys"], bits):
        rows = np.searchsorted(place, batch["sid"].to_numpy())
        out[rows] = batch["keys"].flatten().to_numpy().reshape(-1, n_bands)
    return out


def _edges(a: Ids, b: Ids, similarity: Doubles) -> pa.RecordBatch:
    high, low = np.maximum(a, b), np.minimum(a, b)
    order = np.lexsort((low, high))
    columns = [pa.array(high[order]), pa.array(low[order]), pa.array(similarity[order])]
    return pa.record_batch(columns, schema=tables.DUPLICATES)


def _stage_edges(
    store: Store, slot: Slot, producer_id: int, edges: pa.RecordBatch, rows: Ids
) -> StagedBlock:
    return stage(
        store.storage,
        slot.path("duplicates"),
        [edges],
        tables.DUPLICATES,
        kind="duplicates",
        bits=BitMap(rows.astype(np.uint32)),
        producer_id=producer_id,
    )


def _shingles(store: Store, bits: BitMap, n: int) -> list[words.Hashes]:
    hashes = words.WordHashes()
    _, samples = read_samples(store, bits)
    return [words.shingles(hashes(_text(one)), n) for one in samples]


def _text(sample: Sample) -> str:
    return "\n".join(turn.text for turn in sample.turns)
