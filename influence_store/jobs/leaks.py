"""`leaks`: does a pool hold what it is to be selected for, and later judged on?

Four signs, each between one row of the pool and one of the target: *same* content; a shared run of
13 words (*13-gram*); at least `share` of the target row's runs of 8 words (*8-gram*); stored
embeddings with cosine ≥ `cosine` (*twin*). Runs that are boilerplate count for nothing
(`overlap/leaks.py`). What is boilerplate depends on the whole pool and the whole target, so the
answer belongs to these two sets of rows and these settings; asked again, it is read.

System prompts and tool declarations are not searched: they are boilerplate by profession.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
from pyroaring import BitMap
from sqlmodel import col, select

from influence_store.counted import agree, counted
from influence_store.errors import UsageError
from influence_store.jobs.samples import chunks, read_samples
from influence_store.overlap.leaks import overlap
from influence_store.overlap.twins import twins_between
from influence_store.overlap.words import RULE, WordHashes, normal_form, word_spans
from influence_store.progress import progress
from influence_store.schema import tables
from influence_store.schema.catalog import Block, Run
from influence_store.schema.identity import fingerprint
from influence_store.store import grid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlmodel import Session

    from influence_store.overlap.leaks import Parts, Template
    from influence_store.protocols import Ids
    from influence_store.schema.catalog import Producer
    from influence_store.schema.sample import Sample
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

SAME, LONG, SHORT, TWIN = "same", "13-gram", "8-gram", "twin"
#: The strongest sign first.
HOW = (SAME, LONG, SHORT, TWIN)
LONG_WORDS, SHORT_WORDS = 13, 8

#: Rows of the pool read at once.
_POOL_ROWS = 8192
MAX_PAIRS = 5_000_000
#: Characters of the shared text that are kept.
_OVERLAP_CHARS = 500
_SHOWN, _HEAD = 3, 96


@dataclass(frozen=True)
class Guard:
    """From where on a row of the pool counts as leaked; a stored answer rests on all of it.

    `share` in (0, 1] of a target row's telling runs of 8 words; `cosine` in (0, 1]; `common` in
    [0, 1] is the share of rows above which a run of words is boilerplate. Measured on 300 rows of
    GSM8K (MiniLM): these settings flag all of its copies with up to 10 % of the words replaced,
    80 % of paraphrases by synonyms, and 1 of 2,000 other rows of GSM8K.
    """

    share: float = 0.2
    cosine: float = 0.9
    common: float = 0.001

    def __post_init__(self) -> None:
        for name in ("share", "cosine"):
            if not 0 < (value := getattr(self, name)) <= 1:
                raise UsageError(f"--{name} {value:g} is not above 0 and at most 1", hint="try 0.5")
        if not 0 <= self.common <= 1:
            raise UsageError(f"--common {self.common:g} is not from 0 to 1", hint="try 0.001")


@dataclass(frozen=True)
class LeakReport:
    """What leaked from `target` into `pool`.

    `matches`: one row per pair and sign: sid (of the pool), target (sid), how, score (share of the
    target row's telling runs, or cosine; 1 for the same content), words (in the longest run both
    have), overlap (that run, in lower case, cut after 500 characters), sample_id, target_id.
    """

    pool: str
    target: str
    rows: int
    matches: pl.DataFrame
    examples: tuple[dict[str, Any], ...]
    settings: dict[str, Any]
    told: dict[str, Any]
    reused: bool

    @property
    def bits(self) -> BitMap:
        """The sids to keep out of a selection for this target."""
        return BitMap(self.matches["sid"].to_numpy().astype(np.uint32))

    def counts(self) -> dict[str, int]:
        """Rows of the pool per sign; a row may show several."""
        by = self.matches.group_by("how").agg(pl.col("sid").n_unique())
        found = dict(by.iter_rows())
        return {how: found.get(how, 0) for how in HOW}

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return {
            "pool": self.pool,
            "target": self.target,
            "rows": self.rows,
            "leaked_rows": len(self.bits),
            "leaked_targets": self.matches["target"].n_unique(),
            "rows_per_sign": self.counts(),
            "examples": list(self.examples),
            "matches": self.matches.drop("sid", "target", "overlap").to_dicts(),
            "settings": self.settings,
            "reused": self.reused,
            **self.told,
        }

    def lines(self) -> list[str]:
        """For people: how many per sign, what was not looked at, and examples."""
        counts = self.counts()
        shown = {
            SAME: "the same content",
            LONG: f"share a run of {LONG_WORDS} words",
            SHORT: f"hold ≥ {self.settings['share']:.0%} of a target's runs of {SHORT_WORDS} words",
            TWIN: f"have an embedding with cosine ≥ {self.settings['cosine']:g}",
        }
        signs = [how for how in HOW if how != TWIN or self.told["embedder"]]
        told = [
            f"{len(self.bits):,} of {counted(self.rows, 'row')} of {self.pool} "
            f"{agree(len(self.bits), 'leaks', 'leak')} "
            f"{counted(self.matches['target'].n_unique(), 'row')} of {self.target}",
            *[f"  {counts[how]:,} {shown[how]}" for how in signs],
            *[f"  note: {note}" for note in self._notes()],
        ]
        for one in self.examples:
            told += [
                f"  {one['how']} {one['score']:.2f}, {one['words']} words in a row: "
                f"“{one['overlap'][:_HEAD]}”",
                f"    pool   {one['sample_id'][:12]}  {one['text']}",
                f"    target {one['target_id'][:12]}  {one['target_text']}",
            ]
        return told

    def _notes(self) -> Iterator[str]:
        if not self.told["embedder"]:
            yield "no embedder has both, so paraphrases were not looked for: influence-store embed"
        if template := self.told["template"]:
            yield (
                f"{template['runs']:,} runs of {SHORT_WORDS} words are boilerplate and count for "
                f"nothing, e.g. in {counted(template['rows'], 'row')}: “{template['commonest']}”"
            )
        for n, unjudged in self.told["unjudged"].items():
            if unjudged:
                rows = counted(unjudged, "target row has", "target rows have")
                yield f"{rows} no telling run of {n} words"


def leaks(store: Store, pool: Version, target: Version, guard: Guard | None = None) -> LeakReport:
    """The rows of `pool` that hold something of `target`, found now or read from the store."""
    guard = guard or Guard()
    embedder = _embedder(store, pool, target)
    facts = {
        "words": RULE,
        "sizes": [LONG_WORDS, SHORT_WORDS],
        "pool": _digest(pool),
        "target": _digest(target),
        "embedder": embedder.fingerprint if embedder else None,
        **asdict(guard),
    }
    producer = store.producer("leaks", "leaks", facts)
    reused = not store.missing(pool, producer)
    if not reused:
        params = {"dataset": str(pool), "target": str(target), **asdict(guard)}
        with store.claim("leaks", f"leaks:{producer.fingerprint}", params) as run:
            matches, told = _search(store, pool, target, guard, embedder)
            batches = matches.to_arrow().cast(tables.LEAKS).to_batches()
            block = run.stage("leaks", batches, tables.LEAKS, pool.bits, producer_id=producer.id)
            run.report(told, {})

            def with_block(session: Session, _ids: list[int]) -> None:
                # Part of the answer: it must not be lost if this process dies before its end.
                session.get_one(Run, run.id).result = told

            run.publish([block], with_block)
    matches = _read(store, producer)
    return LeakReport(
        pool=str(pool),
        target=str(target),
        rows=len(pool.bits),
        matches=matches,
        examples=tuple(_examples(store, matches)),
        settings=asdict(guard),
        told=_told(store, producer),
        reused=reused,
    )


# -- searching -----------------------------------------------------------------------------------


def _search(
    store: Store, pool: Version, target: Version, guard: Guard, embedder: Producer | None
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """All matches, ascending by sid, target and strength of sign, and what else must be told."""
    hashes = WordHashes()
    _, aims = read_samples(store, target.bits)
    with progress(f"searching {pool} for {target}", len(pool.bits)) as advance:
        rows = _parts_of(store, pool, hashes, advance)
        sizes = (LONG_WORDS, SHORT_WORDS)
        theirs = [_parts(one, hashes) for one in aims]
        overlaps, template = overlap(rows, theirs, sizes, common=guard.common)
    both = np.asarray((pool.bits & target.bits).to_array(), np.int64)
    found = [(both, both, np.ones(len(both)), SAME)]
    for shared, how in zip(overlaps, (LONG, SHORT), strict=True):
        keep = shared.share >= (guard.share if how == SHORT else 0)
        a, b = pool.sids[shared.pool[keep]], target.sids[shared.target[keep]]
        found.append((a, b, shared.share[keep], how))
    if embedder is not None:
        rows_of, others = store.vectors(embedder, pool.sids), store.vectors(embedder, target.sids)
        twins = twins_between(rows_of, others, guard.cosine, limit=MAX_PAIRS)
        found.append((pool.sids[twins.a], target.sids[twins.b], twins.similarity, TWIN))
    matches = pl.concat([_frame(*one) for one in found])
    matches = matches.filter((pl.col("how") == SAME) | (pl.col("sid") != pl.col("target")))
    told = {
        "embedder": embedder.name if embedder else None,
        "template": _told_of(template, aims),
        "unjudged": {str(one.words): one.unjudged for one in overlaps},
    }
    return _with_overlap(store, matches, hashes), told


def _frame(a: Ids, b: Ids, score: Any, how: str) -> pl.DataFrame:
    columns = {"sid": a, "target": b, "how": [how] * len(a), "score": score}
    return pl.DataFrame(columns, schema_overrides={"how": pl.String})


def _parts_of(store: Store, pool: Version, hashes: WordHashes, advance: Any) -> Iterator[Parts]:
    for part in chunks(pool.bits, _POOL_ROWS):
        _, samples = read_samples(store, part)
        for one in samples:
            yield _parts(one, hashes)
        advance(len(samples))


def _parts(sample: Sample, hashes: WordHashes) -> Parts:
    return tuple(hashes(turn.text) for turn in sample.turns)


def _told_of(template: Template, aims: list[Sample]) -> dict[str, Any] | None:
    if not template.runs:
        return None
    commonest = _run_text(aims[template.row], template.part, template.place, template.words)
    return {"runs": template.runs, "rows": template.rows, "commonest": commonest}


def _with_overlap(store: Store, matches: pl.DataFrame, hashes: WordHashes) -> pl.DataFrame:
    """Add the longest run of words of every pair, from the texts themselves."""
    from influence_store.overlap.jaccard import longest_run

    pairs = matches.select("sid", "target").unique(maintain_order=True)
    bits = BitMap(pairs["sid"].to_list()) | BitMap(pairs["target"].to_list())
    sids, samples = read_samples(store, bits)
    by_sid = dict(zip(sids.tolist(), samples, strict=True))
    parts = {sid: _parts(one, hashes) for sid, one in by_sid.items()}
    lengths, texts = [], []
    for sid, target in pairs.iter_rows():
        runs = [
            (*longest_run(theirs, ours), k)
            for k, theirs in enumerate(parts[target])
            for ours in parts[sid]
        ]
        length, place, part = max(runs, key=lambda run: run[0])
        lengths.append(length)
        texts.append(_run_text(by_sid[target], part, place, length) if length else "")
    longest = pairs.with_columns(
        words=pl.Series(lengths, dtype=pl.Int64), overlap=pl.Series(texts, dtype=pl.String)
    )
    order = pl.col("how").replace_strict(list(HOW), range(len(HOW)), return_dtype=pl.Int8)
    return matches.join(longest, on=["sid", "target"], how="left").sort("sid", "target", order)


def _run_text(sample: Sample, part: int, place: int, length: int) -> str:
    """Words `place` to `place + length` of a turn, as they stand there but in lower case."""
    text = normal_form(sample.turns[part].text)
    spans = word_spans(sample.turns[part].text)[place : place + length]
    return text[spans[0].start() : spans[-1].end()][:_OVERLAP_CHARS]


# -- reading what is stored ----------------------------------------------------------------------


def _read(store: Store, producer: Producer) -> pl.DataFrame:
    (block,) = store.blocks("leaks", producer_id=producer.id)
    batches = list(grid.open_block(store.storage, block).scan(tables.LEAKS.names))
    found = pl.DataFrame(pl.from_arrow(pa.Table.from_batches(batches, schema=tables.LEAKS)))
    matched = BitMap(found["sid"].to_list()) | BitMap(found["target"].to_list())
    ids = store.sample_ids(matched).with_columns(pl.col("sample_id").bin.encode("hex"))
    return found.join(ids, on="sid", how="left", maintain_order="left").join(
        ids.rename({"sid": "target", "sample_id": "target_id"}),
        on="target",
        how="left",
        maintain_order="left",
    )


def _told(store: Store, producer: Producer) -> dict[str, Any]:
    """What the run that searched had to say besides its matches."""
    with store.database.read() as session:
        of_block = select(Run.result).join(Block, col(Block.run_id) == col(Run.id))
        return dict(session.exec(of_block.where(Block.producer_id == producer.id)).one())


def _examples(store: Store, matches: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """The longest overlaps, each of another row of the pool."""
    most = matches.sort("words", "score", "sid", descending=[True, True, False])
    for one in most.unique("sid", keep="first", maintain_order=True).head(_SHOWN).to_dicts():
        heads = {}
        for side in ("sid", "target"):
            _, (sample,) = read_samples(store, BitMap([one.pop(side)]))
            heads[side] = " ".join(sample.prompt[: 2 * _HEAD].split())[:_HEAD]
        yield {**one, "text": heads["sid"], "target_text": heads["target"]}


def _embedder(store: Store, pool: Version, target: Version) -> Producer | None:
    """The newest embedder with a vector for every row of both."""
    both = [
        one
        for one in store.producers("embedding")
        if not store.missing(pool, one) and not store.missing(target, one)
    ]
    return both[-1] if both else None


def _digest(version: Version) -> str:
    return fingerprint({"bits": version.bits.serialize().hex()})
