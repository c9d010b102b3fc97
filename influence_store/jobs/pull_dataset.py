"""`pull --with-texts`: a dataset of another store, texts and all, as a version of one here.

The texts take the way of any ingest: contents that are here already are known by their hash, those
that were forgotten stay out, and version and blocks appear together. Every file there is hashed
before it is read, and every text is hashed anew: it is what its id says, whoever wrote the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import orjson
from pyroaring import BitMap

from influence_store.counted import counted
from influence_store.errors import IntegrityError, UsageError
from influence_store.ingest import Row
from influence_store.ingest.spool import spool_records
from influence_store.jobs.ingest import add_version, ingest_scope
from influence_store.jobs.samples import chunks, read_samples
from influence_store.jobs.vouched import check_bytes
from influence_store.schema.catalog import DatasetVersion, Run
from influence_store.schema.identity import check_dataset_name, sample_id
from influence_store.schema.sample import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from influence_store.schema.sample import Sample
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

_CHUNK_ROWS = 4096
_ROLES = {*get_args(Role)}


@dataclass(frozen=True)
class DatasetPulled:
    """`source` is the version there; the one here holds the same rows, but for `forgotten` ones.

    `new_contents` are texts that this store had never seen; `changed` is False if the newest
    version here was the same already.
    """

    source: str
    dataset: str
    version: int
    changed: bool
    rows: int
    new: int
    removed: int
    new_contents: int
    forgotten: int

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        return dict(vars(self))

    def lines(self) -> list[str]:
        """For people."""
        name = f"{self.dataset}@{self.version}"
        told = [
            f"{name}: {counted(self.rows, 'row')} of {self.source} with their texts "
            f"({self.new:,} new, "
            f"{self.removed:,} removed); {counted(self.new_contents, 'content')} new to the store"
            if self.changed
            else f"{name} holds all rows of {self.source} already; no new version"
        ]
        if self.forgotten:
            gone = counted(self.forgotten, "row was", "rows were")
            told.append(f"  {gone} left out: forgotten on purpose; see `log`")
        return told


def pull_dataset(store: Store, other: Store, ref: str, name: str | None = None) -> DatasetPulled:
    """Let the newest version of the dataset `name` here be the version `ref` of `other`.

    `name` is the name there if None. UsageError if a dataset of that name holds anything else than
    an earlier copy, NotFound if there is no such version, IntegrityError if bytes or texts there
    are not what its catalog vouches for; then nothing is changed.
    """
    there = other.version(ref)
    name = check_dataset_name(name or there.dataset)
    copied = [other.database.store_id(), other.database.role() or "", there.dataset]
    params = {"source": other.uri, "version": str(there), "copied": copied}
    with store.claim("pull", ingest_scope(name), params) as run:
        _refuse_to_replace(store, name, params)
        with spool_records(store.scratch, _rows(other, there)) as spooled:
            origin = {"store": copied[0], "run": _made_by(other, there).id}
            report = add_version(store, run, spooled, name, snapshot=True, origin=origin)
        pulled = DatasetPulled(
            source=str(there),
            dataset=name,
            version=report.version,
            changed=report.changed,
            rows=report.rows,
            new=report.new,
            removed=report.removed,
            new_contents=report.new_contents,
            forgotten=report.forgotten,
        )
        run.report(pulled.facts(), {})
    return pulled


def _refuse_to_replace(store: Store, name: str, params: dict[str, Any]) -> None:
    """A copy follows what it is a copy of; rows that came another way are not taken away."""
    for head in store.heads():
        if head.dataset == name and _made_by(store, head).params.get("copied") != params["copied"]:
            raise UsageError(
                f"{head} here is not a copy of what {params['source']} calls {params['version']}",
                hint="give the copy another name: --as NAME",
            )


def _made_by(store: Store, version: Version) -> Run:
    with store.database.read() as session:
        return session.get_one(Run, session.get_one(DatasetVersion, version.id).run_id)


def _rows(other: Store, there: Version) -> Iterator[Row]:
    """Every row of a version there, checked, in the order of its sids."""
    texts, origins = other.blocks("samples"), other.blocks("rows", dataset_id=there.dataset_id)
    for block in (*texts, *origins):
        if block.bits & there.bits:
            check_bytes(other, block)
    ids = dict(other.sample_ids(there.bits).select("sid", "sample_id").iter_rows())
    for part in chunks(there.bits, _CHUNK_ROWS):
        samples = _samples(other, there, part)
        columns = ["sid", "file", "line", "raw", "extra"]
        found = {
            row.pop("sid"): row
            for batch in other.scan(origins, columns, part)
            for row in batch.to_pylist()
        }
        for sid in part:
            if sid not in samples or sid not in found or not _is(samples[sid], ids[sid]):
                raise _damaged(other, f"a row of {there} is lost, or not what its id says")
            origin = found[sid]
            yield Row(**{**origin, "extra": orjson.loads(origin["extra"])}, sample=samples[sid])


def _samples(other: Store, there: Version, part: BitMap) -> dict[int, Sample]:
    try:
        sids, samples = read_samples(other, part)
    except (TypeError, ValueError) as error:  # no JSON, or no conversation
        raise _damaged(other, f"a row of {there} is no sample: {error}") from error
    return dict(zip(sids.tolist(), samples, strict=True))


def _is(sample: Sample, id_: bytes) -> bool:
    return {turn.role for turn in sample.turns} <= _ROLES and sample_id(sample) == id_


def _damaged(other: Store, told: str) -> IntegrityError:
    return IntegrityError(
        f"{other.uri}: {told}; nothing was taken",
        hint=f"see what is damaged there: influence-store --store {other.uri} verify --deep",
    )
