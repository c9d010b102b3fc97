"""What changed between versions, what are they called, and what shall go?"""

from __future__ import annotations

import click

from influence_store.counted import counted
from influence_store.errors import UsageError
from influence_store.options import Whole
from influence_store.shell import Context, emit_report, verb, writing_verb


@verb
@click.argument("old", metavar="D[@V]")
@click.argument("new", metavar="D[@V]")
@click.option(
    "--show",
    type=Whole(min=0),
    default=0,
    show_default=True,
    help="Added and removed rows with their texts.",
)
def diff(ctx: Context, old: str, new: str, show: int) -> None:
    """What the second version has that the first has not, and how it differs.

    \b
    influence-store diff chats@3 chats@4 --show 5
    """
    from influence_store.jobs.diff import diff as job

    store = ctx.open()
    emit_report(ctx, job(store, store.version(old), store.version(new), show=show))


@writing_verb
@click.argument("dataset", metavar="D[@V]")
@click.argument("name")
@click.option("--move", is_flag=True, help="Let a name that is taken mean this version.")
@click.option("--remove", is_flag=True, help="Take the name away.")
def tag(ctx: Context, dataset: str, name: str, move: bool, remove: bool) -> None:
    """Give a version a lasting NAME: D@NAME.

    \b
    influence-store tag chats@3 before-summer
    influence-store tag chats before-summer --remove
    """
    from influence_store.jobs.tag import remove_tag
    from influence_store.jobs.tag import tag as job

    if move and remove:
        raise UsageError("--move and --remove exclude each other")
    store = ctx.open()
    if remove:
        emit_report(ctx, remove_tag(store, dataset, name))
        return
    emit_report(ctx, job(store, store.version(dataset), name, move=move))


@writing_verb
@click.argument("name", metavar="D|D@V|SELECTION")
@click.option("--force", is_flag=True, help="Also while something stands on it.")
@click.option("--undo", is_flag=True, help="Bring it back.")
def delete(ctx: Context, name: str, force: bool, undo: bool) -> None:
    """Delete a version, a dataset or a selection; it can be undone for a day.

    What was computed of the samples stays: a dataset that brings them again costs nothing.
    """
    from influence_store.jobs.delete import delete as job
    from influence_store.jobs.delete import undo as bring_back

    if force and undo:
        raise UsageError("--force and --undo exclude each other")
    emit_report(ctx, bring_back(ctx.open(), name) if undo else job(ctx.open(), name, force=force))


@writing_verb
@click.argument("dataset", required=False)
def compact(ctx: Context, dataset: str | None) -> None:
    """Merge the many small blocks that ingests leave into few; values stay the same bits."""
    from influence_store.jobs.compact import compact as job

    emit_report(ctx, job(ctx.open_to_read(), dataset, plan_only=ctx.dry_run))


@writing_verb
@click.argument("samples", nargs=-1, required=True, metavar="SAMPLE_ID...")
@click.option("--reason", required=True, help="Kept beside the hash of each sample.")
@click.option("--yes", is_flag=True, help="Do not ask: this cannot be undone.")
def forget(ctx: Context, samples: tuple[str, ...], reason: str, yes: bool) -> None:
    """Remove samples and all that was computed of them, from every version, for good."""
    from influence_store.jobs.forget import forget as job

    store = ctx.open()
    if not yes and not ctx.dry_run:
        question = (
            f"forget {counted(len(samples), 'sample')} for good, in all versions of {store.uri}?"
        )
        click.confirm(question, abort=True, err=True)
    emit_report(ctx, job(store, samples, reason))
