"""`ingest`: files → one new dataset version; nothing that stood before is rewritten.

parse everything into a spool → claim the dataset → match contents against the store
→ write only contents never seen → publish block and version together
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl
from pyroaring import BitMap
from sqlmodel import Session, col, func, select

from influence_store.counted import counted
from influence_store.errors import InputError, ReadError, UsageError
from influence_store.ingest import Rejected, count_reasons, read_removed, write_rejects
from influence_store.ingest.spool import ReadSettings, Spool, spool
from influence_store.jobs.tag import check_tag_name
from influence_store.schema import tables
from influence_store.schema.catalog import Block, Dataset, DatasetVersion, Forgotten, Tag
from influence_store.schema.identity import check_dataset_name, sample_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from influence_store.protocols import Ids
    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store

_SHOWN_ERRORS = 20
_SHOWN_REASONS = 5
_AS_THEY_ARE = ReadSettings()


@dataclass(frozen=True)
class IngestReport:
    """What one ingest did. `new_contents` counts texts the whole store had never seen.

    `reject_reasons` counts the rejected records by what is wrong with them, without their values.
    `restored` counts rows of a version that stood whose origin had been lost (see `repair`).
    """

    dataset: str
    version: int
    changed: bool
    rows: int
    new: int
    kept: int
    removed: int
    repeated: int
    duplicates: int
    rejected: int
    reject_reasons: Mapping[str, int]
    removed_unknown: int
    forgotten: int
    new_contents: int
    restored: int
    rejects: str

    def facts(self) -> dict[str, Any]:
        """As stored with the version and printed by `--json`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people: the new version and where every input row went."""
        name = f"{self.dataset}@{self.version}"
        gone = counted(self.forgotten, "row was", "rows were")
        refused = [f"  {gone} left out: forgotten on purpose; see `log`"]
        lost = counted(self.restored, "row had lost its", "rows had lost their")
        mended = [f"  {lost} origin; it was recorded again"]
        if not self.changed:
            known = f"{name} holds all of this already; no new version"
            return [known, *(mended if self.restored else []), *(refused if self.forgotten else [])]
        told = [
            f"{name}: {counted(self.rows, 'row')} ({self.new:,} new, {self.kept:,} kept, "
            f"{self.removed:,} removed)",
            f"  input: {counted(self.repeated, 'row')} known to the dataset, "
            f"{counted(self.duplicates, 'duplicate')}, {self.rejected:,} rejected; "
            f"{counted(self.new_contents, 'content')} new to the store",
        ]
        if self.removed_unknown:
            unknown = counted(self.removed_unknown, "row to remove was", "rows to remove were")
            told.append(f"  {unknown} not in the dataset")
        if self.restored:
            told += mended
        if self.forgotten:
            told += refused
        if self.rejected:
            told.append(f"  the rejected records are in {self.rejects}")
            why = [*self.reject_reasons.items()]
            told += [f"    {count:,} × {reason}" for reason, count in why[:_SHOWN_REASONS]]
            if more := sum(count for _, count in why[_SHOWN_REASONS:]):
                told.append(f"    {more:,} × other reasons")
        return told


class _Raced(Exception):
    """Another ingest published contents while this one was staging its own."""


@dataclass(frozen=True)
class _Match:
    """Input row k has sid `sids[k]`; `fresh` where the store, `unrecorded` where the dataset has
    never seen it. `bits` is the new version, `seen_block` the last sample block compared with.
    """

    dataset_id: int
    sids: Ids
    fresh: npt.NDArray[np.bool_]
    unrecorded: npt.NDArray[np.bool_]
    bits: BitMap
    seen_block: int


def ingest(
    store: Store,
    paths: Sequence[str],
    dataset: str,
    *,
    settings: ReadSettings = _AS_THEY_ARE,
    skip_errors: bool = False,
    removed: str | None = None,
    snapshot: bool = False,
    tag: str | None = None,
    rejects: Path | None = None,
) -> IngestReport:
    """Add the rows of `paths` to `dataset` as its next version.

    `removed` names a file of rows to drop; with `snapshot` the files are the whole new version.
    A record that cannot be read stops everything before the store is touched (InputError with
    file and line), or is counted and written to `rejects` when `skip_errors`. The same rows
    again are a no-op: the head version is returned with `changed=False`.
    """
    check_dataset_name(dataset)
    if tag is not None:
        check_tag_name(tag)
    if removed is not None and snapshot:
        raise UsageError("--removed and --snapshot exclude each other: a snapshot names all rows")
    with spool(store.scratch, paths, settings) as spooled:
        _refuse_or_note(spooled, skip_errors, rejects)
        if not spooled.ids and removed is None:
            raise InputError("0 records could be read; nothing was changed")
        if not spooled.ids:
            store.version(dataset)  # rows leave a dataset that is there
        dropped = _ids_to_drop(removed, settings.mapping)
        params = {"paths": list(paths), "removed": removed, "snapshot": snapshot}
        with store.claim("ingest", ingest_scope(dataset), params) as run:
            report = add_version(
                *(store, run, spooled, dataset, dropped, snapshot),
                tag=tag,
                rejects=str(rejects or ""),
            )
            run.report(report.facts(), {})
    return report


def ingest_scope(dataset: str) -> str:
    """Whoever adds a version to `dataset` holds this alone."""
    return f"ingest:{dataset}"


def add_version(
    store: Store,
    run: ActiveRun,
    spooled: Spool,
    dataset: str,
    dropped: Sequence[bytes] = (),
    snapshot: bool = False,
    *,
    tag: str | None = None,
    rejects: str = "",
    origin: Mapping[str, str] | None = None,
) -> IngestReport:
    """Publish what was spooled as the next version of `dataset`; a no-op if that changes nothing.

    `run` holds the dataset's `ingest_scope`. With `snapshot` the version holds nothing else,
    without it also what the newest one holds but for the sample ids `dropped`. `origin` says which
    run of which store had the texts, if another one. InputError if no row would be left.
    """
    while True:
        report, match = _plan(store, dataset, spooled, dropped, snapshot)
        report = replace(report, rejects=rejects)
        try:
            if report.changed or report.restored:
                _commit(store, run, spooled, report, match, tag, origin)
        except _Raced:
            continue
        return report


def _plan(
    store: Store, dataset: str, spooled: Spool, dropped: Sequence[bytes], snapshot: bool
) -> tuple[IngestReport, _Match]:
    """Compare the input with what the store holds; reserves sids, writes nothing."""
    blocks = store.blocks("samples")
    known = store.sids_of([*spooled.ids, *dropped])
    incoming = pl.DataFrame({"sample_id": spooled.ids}, schema={"sample_id": pl.Binary})
    matched = incoming.join(known, on="sample_id", how="left", maintain_order="left")["sid"]
    refused = _forgotten(store, spooled.ids)
    fresh = matched.is_null().to_numpy() & ~refused
    n_fresh = int(fresh.sum())
    sids = matched.fill_null(-1).to_numpy().copy()
    sids[fresh] = (store.reserve_sids(n_fresh) if n_fresh else 0) + np.arange(n_fresh)

    state, recorded = _dataset_state(store, dataset)
    before, given = state.bits, BitMap(sids[~refused].astype(np.uint32))
    drop, unknown = _drop_bits(known, dropped, before)
    unrecorded = ~np.isin(sids, recorded.to_array()) & ~refused
    bits = given if snapshot else (before | given) - drop
    if not bits:
        raise InputError(f"{dataset} would have no rows left", hint="nothing was changed")
    report = IngestReport(
        dataset=dataset,
        version=state.last + 1 if bits != before else state.number,
        changed=bits != before,
        rows=len(bits),
        new=len(bits - before),
        kept=len(bits & before),
        removed=len(before - bits),
        repeated=len(given & before),
        duplicates=spooled.duplicates,
        rejected=len(spooled.rejected),
        reject_reasons=count_reasons(spooled.rejected),
        removed_unknown=unknown,
        forgotten=int(refused.sum()),
        new_contents=n_fresh,
        restored=int((unrecorded & np.isin(sids, before.to_array())).sum()),
        rejects="",
    )
    seen = max((block.id for block in blocks), default=0)
    return report, _Match(state.dataset_id, sids, fresh, unrecorded, bits, seen)


def _forgotten(store: Store, ids: Sequence[bytes]) -> npt.NDArray[np.bool_]:
    """Which contents were taken out for good, (len(ids),): they do not come back."""
    with store.database.read() as session:
        gone = set(session.exec(select(Forgotten.sample_id)).all())
    return np.array([one in gone for one in ids], np.bool_)


def _commit(
    store: Store,
    run: ActiveRun,
    spooled: Spool,
    report: IngestReport,
    match: _Match,
    tag: str | None,
    origin: Mapping[str, str] | None,
) -> None:
    """Write the new contents and where the dataset got them from; publish with the version."""
    staged = []
    for kind, schema, wanted, owner in (
        ("samples", tables.SAMPLES, match.fresh, None),
        ("rows", tables.ROWS, match.unrecorded, match.dataset_id),
    ):
        if wanted.any():
            batches = spooled.batches(schema, match.sids, wanted)
            covered = BitMap(match.sids[wanted].astype(np.uint32))
            block = run.stage(kind, batches, schema, covered, dataset_id=owner, origin=origin)
            staged.append(block)

    def more(session: Session, _block_ids: list[int]) -> None:
        newest = select(func.max(Block.id)).where(
            Block.kind == "samples", Block.run_id != run.id, col(Block.retired_at).is_(None)
        )
        if (session.exec(newest).one() or 0) > match.seen_block:
            raise _Raced
        if not report.changed:
            return
        dataset = session.get(Dataset, match.dataset_id, with_for_update=True)
        assert dataset is not None
        dataset.head = report.version
        session.add(dataset)
        session.add(
            DatasetVersion(
                dataset_id=match.dataset_id,
                number=report.version,
                run_id=run.id,
                n_rows=report.rows,
                digest=_digest(match.bits),
                bits=match.bits.serialize(),
                counts=report.facts(),
                created_at=store.database.now(session),
            )
        )
        if tag:
            session.add(Tag(dataset_id=match.dataset_id, name=tag, number=report.version))

    run.publish(staged, more)


@dataclass(frozen=True)
class _State:
    """A dataset: what its newest version `number` that stands holds; `last` was ever given."""

    dataset_id: int
    bits: BitMap
    number: int
    last: int


def _dataset_state(store: Store, name: str) -> tuple[_State, BitMap]:
    """The dataset and the sids whose origin it has recorded; its row is made if new."""

    def work(session: Session) -> _State:
        dataset = session.exec(select(Dataset).where(Dataset.name == name)).first()
        if dataset is None:
            dataset = Dataset(name=name, created_at=store.database.now(session))
            session.add(dataset)
            session.flush()
        stand = select(DatasetVersion).where(
            DatasetVersion.dataset_id == dataset.id, col(DatasetVersion.deleted_at).is_(None)
        )
        newest = session.exec(stand.order_by(col(DatasetVersion.number).desc()).limit(1)).first()
        bits = BitMap.deserialize(newest.bits) if newest else BitMap()
        assert dataset.id is not None
        return _State(dataset.id, bits, newest.number if newest else 0, dataset.head)

    state = store.database.write(work)
    origins = store.blocks("rows", dataset_id=state.dataset_id)
    return state, BitMap.union(BitMap(), *[block.bits for block in origins])


def _ids_to_drop(removed: str | None, mapping: Mapping[str, str] | None) -> list[bytes]:
    if removed is None:
        return []
    ids = []
    for record in read_removed(removed, mapping=mapping):
        if isinstance(record, ReadError):
            raise InputError(f"--removed {record}")
        ids.append(record if isinstance(record, bytes) else sample_id(record.sample))
    return ids


def _drop_bits(known: pl.DataFrame, dropped: Sequence[bytes], before: BitMap) -> tuple[BitMap, int]:
    """Bitmap of what to drop from the head, and how many named rows it does not hold."""
    wanted = pl.DataFrame({"sample_id": [*dropped]}, schema={"sample_id": pl.Binary}).unique()
    found = known.join(wanted, on="sample_id", how="semi")["sid"].to_numpy()
    bits = BitMap(found.astype(np.uint32)) & before
    return bits, wanted.height - len(bits)


def _refuse_or_note(spooled: Spool, skip_errors: bool, rejects: Path | None) -> None:
    if spooled.rejected and not skip_errors:
        raise InputError(
            _told(spooled.rejected),
            hint="mend them, or leave them out: --on-error skip (they go to rejects.jsonl)",
        )
    if spooled.rejected and rejects is not None:
        write_rejects(rejects, spooled.rejected)


def _told(rejected: Iterable[Rejected]) -> str:
    lines = [str(record) for record in rejected]
    more = [f"… and {len(lines) - _SHOWN_ERRORS} more"] if len(lines) > _SHOWN_ERRORS else []
    head = f"{len(lines)} of the records cannot be read; nothing was changed"
    return "\n  ".join([head, *lines[:_SHOWN_ERRORS], *more])


def _digest(bits: BitMap) -> str:
    return hashlib.blake2b(bits.serialize(), digest_size=16).hexdigest()
