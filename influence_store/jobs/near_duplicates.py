"""`duplicates`: which rows of a dataset nearly repeat others, and which of them should stay?

Stored are edges, facts about two contents; clusters follow from them when they are read, since
they change with every row that comes or goes. Two kinds: *words*, the Jaccard similarity of the
rows' runs of words (turns only: a system prompt that all share says nothing), and *twins*, the
cosine of their stored embeddings. A block of edges speaks for its rows once they are compared with
one another and with every row compared before, of whichever dataset; so a new version costs
(new rows) × (all rows), and its edges are those of a run from scratch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from influence_store.errors import NotFound, UsageError
from influence_store.jobs.cells import response_chars
from influence_store.jobs.samples import chunks, read_samples
from influence_store.overlap import clusters as clustering
from influence_store.overlap import minhash, words
from influence_store.overlap.clusters import Clusters, Edges, Surplus
from influence_store.overlap.twins import twins_within
from influence_store.progress import progress
from influence_store.query.views import Cells, cells_of
from influence_store.schema import tables
from influence_store.schema.identity import sample_id
from influence_store.store import grid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.overlap.minhash import Keys
    from influence_store.protocols import Doubles, Ids
    from influence_store.schema.catalog import Producer
    from influence_store.schema.sample import Sample
    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

WORDS, TWINS = "words", "twins"
KEEP_FIRST, LONGEST, HIGHEST = "keep-first", "longest", "highest:"

#: Rows per published block: what a kill can cost.
KEY_ROWS, WORD_ROWS, TWIN_ROWS = 8192, 32_768, 4096
#: More pairs of one publication mean thresholds at which nearly everything is alike.
MAX_PAIRS = 50_000_000
_SHOWN, _HEAD = 3, 72


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


@dataclass(frozen=True)
class DuplicatesReport:
    """`compared` rows are new; `largest` clusters with the ids and heads of their first rows."""

    dataset: str
    rows: int
    compared: int
    edges: dict[str, int]
    clusters: int
    rows_in_clusters: int
    surplus: int
    largest: tuple[dict[str, Any], ...]
    settings: dict[str, Any]
    note: str

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people: how many, the largest with their texts, and what to do about them."""
        kinds = {
            WORDS: f"share {self.settings['jaccard']:.0%} of their words' runs",
            TWINS: f"have embeddings with cosine ≥ {self.settings['cosine']:g}",
        }
        told = [
            f"{self.dataset}: {self.rows_in_clusters:,} of {self.rows:,} rows are near duplicates, "
            f"in {self.clusters:,} clusters ({self.compared:,} rows compared now)",
            *[f"  {n:,} pairs {kinds[how]}" for how, n in self.edges.items()],
            *([f"  note: {self.note}"] if self.note else []),
        ]
        for cluster in self.largest:
            told.append(f"  {cluster['rows']:,} rows, for example:")
            told += [f"    {one['sample_id'][:12]}  {one['text']}" for one in cluster["examples"]]
        if self.surplus:
            told.append(
                f"select --duplicates {KEEP_FIRST} would leave out {self.surplus:,} rows "
                f"(or: {LONGEST}, {HIGHEST}COLUMN)"
            )
        return told


def duplicates(store: Store, version: Version, alike: Alike | None = None) -> DuplicatesReport:
    """Find the near duplicates of `version` and say what they are."""
    alike = alike or Alike()
    compared = compare(store, version, alike)
    found = near_duplicates(store, version, alike)
    kinds = [WORDS, TWINS] if embedder_of(store, version) else [WORDS]
    return DuplicatesReport(
        dataset=str(version),
        rows=len(version.bits),
        compared=compared,
        edges={how: int((found.edges.how == how).sum()) for how in kinds},
        clusters=len(found),
        rows_in_clusters=len(found.sids),
        surplus=len(clustering.surplus(found, None, KEEP_FIRST).sids),
        largest=tuple(_told(store, sids) for sids in found.by_size()[:_SHOWN]),
        settings=asdict(alike),
        note=""
        if TWINS in kinds
        else f"no embeddings, so words only; to compare meanings too: influence-store embed "
        f"{version} --embedder E",
    )


def near_duplicates(store: Store, version: Version, alike: Alike | None = None) -> Clusters:
    """The clusters of `version`, after comparing those of its rows that never were."""
    alike = alike or Alike()
    compare(store, version, alike)
    return _clusters_by(store, version, _edge_producers(store, version, alike))


def _clusters_by(store: Store, version: Version, producers: list[Producer]) -> Clusters:
    parts = []
    for producer in producers:
        a, b, similarity = _read_edges(store, producer)
        inside = np.isin(a, version.sids) & np.isin(b, version.sids)
        parts.append((a[inside], b[inside], similarity[inside], producer.name))
    return clustering.clusters(Edges.of(parts))


def stored_clusters(store: Store, version: Version) -> Clusters | None:
    """The clusters of `version` by edges that are stored; None if some row was never compared.

    Of each kind by the newest edges that speak for every row. Writes nothing.
    """
    complete = {
        one.name: one
        for one in store.producers("duplicates")  # oldest first
        if not store.missing(version, one)
    }
    if WORDS not in complete:
        return None
    return _clusters_by(store, version, list(complete.values()))


def surplus(store: Store, version: Version, found: Clusters, policy: str) -> Surplus:
    """The rows to leave out, where of near duplicates one stays: which, `policy` says.

    keep-first: the lowest sid, the row that came first; longest: the most characters of response;
    highest:COLUMN: the largest stored value, e.g. highest:inf_ifd; rows without one come last.
    UsageError for another policy, NotFound for a column that is not stored.
    """
    check_policy(store, policy)
    if policy == KEEP_FIRST:
        return clustering.surplus(found, None, policy)
    if policy == LONGEST:
        chars = response_chars(store, found.sids)
        return clustering.surplus(found, dict(zip(found.sids.tolist(), chars, strict=True)), policy)
    producer, column = Cells.of(store).scalars[policy.removeprefix(HIGHEST)]
    cells = cells_of(store, producer, column, version).drop_nulls()
    score = dict(zip(cells["sid"].to_list(), cells[column].to_list(), strict=True))
    return clustering.surplus(found, score, policy)


def check_policy(store: Store, policy: str) -> None:
    """UsageError for an unknown policy, NotFound for a column that is not stored."""
    if policy in (KEEP_FIRST, LONGEST):
        return
    if not policy.startswith(HIGHEST):
        raise UsageError(
            f"{policy!r} is no policy for duplicates",
            hint=f"say one of: {KEEP_FIRST}, {LONGEST}, {HIGHEST}COLUMN",
        )
    name, known = policy.removeprefix(HIGHEST), Cells.of(store).scalars
    if name not in known:
        raise NotFound.named("column", name, known, hint="see: influence-store status")


def embedder_of(store: Store, version: Version) -> Producer | None:
    """The newest embedder that has a vector for every row of `version`."""
    complete = [one for one in store.producers("embedding") if not store.missing(version, one)]
    return complete[-1] if complete else None


# -- computing edges -----------------------------------------------------------------------------


def compare(store: Store, version: Version, alike: Alike) -> int:
    """Compare the rows of `version` that never were, with all that were; how many those are."""
    producers = _edge_producers(store, version, alike)
    missing = BitMap.union(BitMap(), *[store.missing(version, one) for one in producers])
    if not missing:
        return 0
    params = {"dataset": str(version), **asdict(alike)}
    # Two runs at once could each miss what the other adds, so only one compares at a time.
    with store.claim("duplicates", "duplicates", params) as run:
        for producer in producers:
            comparing = _compare_words if producer.name == WORDS else _compare_twins
            comparing(store, run, version, producer, alike)
        run.report({"compared": len(missing), "dataset": str(version)}, {"compared": len(missing)})
    return len(missing)


def _edge_producers(store: Store, version: Version, alike: Alike) -> list[Producer]:
    facts = {**_minhash_facts(alike), "jaccard": alike.jaccard}
    producers = [store.producer("duplicates", WORDS, facts)]
    if embedder := embedder_of(store, version):
        facts = {"embedder": embedder.fingerprint, "cosine": alike.cosine}
        producers.append(store.producer("duplicates", TWINS, facts))
    return producers


def _minhash_facts(alike: Alike) -> dict[str, Any]:
    return {
        "words": words.RULE,
        "scheme": minhash.SCHEME,
        "shingle": alike.shingle,
        "permutations": alike.permutations,
        "band": alike.band,
        "seed": alike.seed,
    }


def _compare_words(
    store: Store, run: ActiveRun, version: Version, producer: Producer, alike: Alike
) -> None:
    missing = store.missing(version, producer)
    if not missing:
        return
    from influence_store.overlap.jaccard import jaccard

    sids = _arrivals(store, producer, missing)
    keys = _keys(store, run, BitMap(sids.astype(np.uint32)), alike)
    index = minhash.BandIndex(keys[np.searchsorted(np.sort(sids), sids)])
    with progress(f"comparing words of {version}", len(missing)) as advance:
        for start in range(len(sids) - len(missing), len(sids), WORD_ROWS):
            stop = min(start + WORD_ROWS, len(sids))
            a, b = index.candidates(start, stop, limit=MAX_PAIRS)
            involved, places = np.unique(np.concatenate([sids[a], sids[b]]), return_inverse=True)
            sets = _shingles(store, BitMap(involved.astype(np.uint32)), alike.shingle)
            left, right = np.split(places, 2)
            similarity = jaccard(*words.packed(sets), left, right)
            alike_enough = similarity >= alike.jaccard
            edges = sids[a][alike_enough], sids[b][alike_enough], similarity[alike_enough]
            _publish_edges(run, producer, sids[start:stop], *edges)
            advance(stop - start)


def _compare_twins(
    store: Store, run: ActiveRun, version: Version, producer: Producer, alike: Alike
) -> None:
    missing, embedder = store.missing(version, producer), embedder_of(store, version)
    if not missing or embedder is None:
        return
    sids = _arrivals(store, producer, missing)
    vectors = store.vectors(embedder, sids)
    with progress(f"comparing embeddings of {version}", len(missing)) as advance:
        for start in range(len(sids) - len(missing), len(sids), TWIN_ROWS):
            stop = min(start + TWIN_ROWS, len(sids))
            found = twins_within(vectors, alike.cosine, start, stop, limit=MAX_PAIRS)
            edges = sids[found.a], sids[found.b], found.similarity
            _publish_edges(run, producer, sids[start:stop], *edges)
            advance(stop - start)


def _arrivals(store: Store, producer: Producer, missing: BitMap) -> Ids:
    """Sids compared before, then those to be compared: each with all that stand before it."""
    assert producer.id is not None
    parts = [store.covered(producer.id).to_array(), missing.to_array()]
    return np.concatenate([np.asarray(part, np.int64) for part in parts])


def _publish_edges(
    run: ActiveRun, producer: Producer, rows: Ids, a: Ids, b: Ids, similarity: Doubles
) -> None:
    high, low = np.maximum(a, b), np.minimum(a, b)
    order = np.lexsort((low, high))
    batch = pa.record_batch(
        [pa.array(high[order]), pa.array(low[order]), pa.array(similarity[order])],
        schema=tables.DUPLICATES,
    )
    bits = BitMap(rows.astype(np.uint32))
    run.publish(
        [run.stage("duplicates", [batch], tables.DUPLICATES, bits, producer_id=producer.id)]
    )


def _read_edges(store: Store, producer: Producer) -> tuple[Ids, Ids, Doubles]:
    batches = [
        batch
        for block in store.blocks("duplicates", producer_id=producer.id)
        for batch in grid.open_block(store.storage, block).scan(tables.DUPLICATES.names)
    ]
    table = pa.Table.from_batches(batches, schema=tables.DUPLICATES)
    a, b, similarity = (column.to_numpy() for column in table.columns)
    return a, b, similarity


# -- what is compared ----------------------------------------------------------------------------


def _keys(store: Store, run: ActiveRun, bits: BitMap, alike: Alike) -> Keys:
    """The MinHash keys of `bits`, ascending, (n, n_bands); those that are not stored are made."""
    facts, n_bands = _minhash_facts(alike), alike.permutations // alike.band
    producer = store.producer("minhash", "words", facts, dim=n_bands)
    assert producer.id is not None
    schema = tables.minhash(n_bands)
    for part in chunks(bits - store.covered(producer.id), KEY_ROWS):
        sets = _shingles(store, part, alike.shingle)
        keys = minhash.band_keys(sets, alike.permutations, alike.band, alike.seed)
        flat = pa.FixedSizeListArray.from_arrays(pa.array(keys.ravel()), n_bands)
        batch = pa.record_batch([pa.array(part.to_array(), pa.int64()), flat], schema=schema)
        run.publish([run.stage("minhash", [batch], schema, part, producer_id=producer.id)])
    out, place = np.zeros((len(bits), n_bands), np.uint64), np.asarray(bits.to_array(), np.int64)
    blocks = store.blocks("minhash", producer_id=producer.id)
    for batch in store.scan(blocks, ["sid", "keys"], bits):
        rows = np.searchsorted(place, batch["sid"].to_numpy())
        out[rows] = batch["keys"].flatten().to_numpy().reshape(-1, n_bands)
    return out


def _shingles(store: Store, bits: BitMap, n: int) -> list[words.Hashes]:
    hashes = words.WordHashes()
    _, samples = read_samples(store, bits)
    return [words.shingles(hashes(_text(one)), n) for one in samples]


def _text(sample: Sample) -> str:
    return "\n".join(turn.text for turn in sample.turns)


def _told(store: Store, sids: Ids) -> dict[str, Any]:
    _, samples = read_samples(store, BitMap(sids[:_SHOWN].astype(np.uint32)))
    return {"rows": len(sids), "examples": list(_heads(samples))}


def _heads(samples: list[Sample]) -> Iterator[dict[str, str]]:
    for one in samples:
        head = " ".join(f"{one.prompt[: 2 * _HEAD]} → {one.response[:_HEAD]}".split())
        yield {"sample_id": sample_id(one).hex(), "text": head[: 2 * _HEAD]}
