"""Is the store whole, and how does it stay so?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from influence_store.errors import UsageError
from influence_store.options import Number
from influence_store.shell import Context, emit_report, on_an_engine, verb, writing_verb

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNITS: Mapping[str, float] = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@verb
@click.option("--deep", is_flag=True, help="Every byte and every value, not only sizes and rows.")
@click.option(
    "--max-mb-per-s", type=Number(min=0, min_open=True), help="Read slower than it could."
)
@click.option("--selection", metavar="FILE|ID", help="A receipt, or a stored selection.")
@on_an_engine
def verify(
    ctx: Context, deep: bool, max_mb_per_s: float | None, selection: str | None, **engine: Any
) -> None:
    """Compare the store with its catalog; or make a SELECTION again, pick by pick.

    Every problem names the file, whom it concerns and the command that mends it; exit code 7.

    \b
    influence-store verify --deep
    influence-store verify --selection selection.lock
    """
    if selection is not None:
        from influence_store.jobs.receipts import verify_selection

        if deep or max_mb_per_s is not None or set(engine.values()) != {"local", None}:
            raise UsageError(
                "--selection is verified in one way only, and here",
                hint="leave out --deep, --max-mb-per-s and --engine",
            )
        emit_report(ctx, verify_selection(ctx.open(), selection))
        return
    from influence_store.jobs.verify_store import verify_store

    if engine["engine"] != "local" and not deep:
        raise UsageError("only a deep look is taken elsewhere", hint="add: --deep")
    report = verify_store(
        ctx.open(), deep=deep, max_mb_per_s=max_mb_per_s, executor=ctx.executor(**engine)
    )
    emit_report(ctx, report)
    report.check()


@writing_verb
@click.option("--quarantine", is_flag=True, help="Do it; without this it is only told.")
@click.option("--from", "source", metavar="BACKUP", help="Bring right bytes back from a backup.")
@click.option("--fast", is_flag=True, help="Trust files that have the right size.")
def repair(ctx: Context, quarantine: bool, source: str | None, fast: bool) -> None:
    """Put damaged blocks out of the way, and say what makes their values again.

    Nothing is deleted: files are moved to quarantine/ in the store.
    """
    from influence_store.jobs.repair import repair as job

    act = quarantine and not ctx.dry_run
    emit_report(ctx, job(ctx.open_to_read(), quarantine=act, source=source, deep=not fast))


@writing_verb
@click.option("--yes", is_flag=True, help="Do it; without this it is only told.")
@click.option("--grace", default="24h", show_default=True, help="Age of what may go: 90m, 2d.")
@click.option(
    "--cells", is_flag=True, help="Also contents that no version holds, and their values."
)
def gc(ctx: Context, yes: bool, grace: str, cells: bool) -> None:
    """Remove the files that nobody will read again: of dead runs, and replaced long ago."""
    from influence_store.jobs.gc import gc as job
    from influence_store.jobs.gc import make_room
    from influence_store.store.location import storage_at

    seconds = _seconds(grace)
    act = yes and not ctx.dry_run
    if act:
        # On a full disk even opening the catalog may fail.
        make_room(storage_at(ctx.place.uri))
    emit_report(ctx, job(ctx.open_to_read(), grace=seconds, cells=cells, act=act))


@writing_verb
@click.argument("folder", metavar="FOLDER|URI")
def backup(ctx: Context, folder: str) -> None:
    """Copy the store to FOLDER while others work; again: only what is new.

    \b
    influence-store backup /mnt/backups/store
    """
    from influence_store.jobs.backup import backup as job
    from influence_store.jobs.backup import plan_backup

    emit_report(ctx, (plan_backup if ctx.dry_run else job)(ctx.open_to_read(), folder))


@writing_verb
@click.argument("folder", metavar="FOLDER|URI")
@click.option("--database", metavar="URL", help="A catalog in PostgreSQL; default: SQLite.")
def restore(ctx: Context, folder: str, database: str | None) -> None:
    """Make a new store (--store) from the backup in FOLDER, and verify every byte of it.

    \b
    influence-store --store NEW restore /mnt/backups/store
    """
    from influence_store.jobs.restore import plan_restore
    from influence_store.jobs.restore import restore as job

    address = database or ctx.place.database
    if ctx.dry_run:
        emit_report(ctx, plan_restore(folder, ctx.place.uri, address))
        return
    report = job(folder, ctx.place.uri, address)
    emit_report(ctx, report)
    report.verified.check()


@verb
def doctor(ctx: Context) -> None:
    """Is this machine fit to keep the store? Versions, device, clocks, space, rights."""
    from influence_store.jobs.doctor import doctor as job

    report = job(ctx.place.uri, ctx.place.database)
    emit_report(ctx, report)
    report.check()


def _seconds(told: str) -> float:
    """A duration as people write it."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", told)
    if found is None:
        raise UsageError(f"--grace {told!r} is no duration", hint="90s, 30m, 24h, 7d")
    return float(found[1]) * _UNITS[found[2] or "s"]
