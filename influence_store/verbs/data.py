"""What comes into a store, and what leaves it as files?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from influence_store.errors import UsageError
from influence_store.options import Size
from influence_store.settings import cache_dir
from influence_store.shell import (
    Context,
    emit_facts,
    emit_report,
    key_values,
    on_an_engine,
    writing_verb,
)
from influence_store.version import __version__

if TYPE_CHECKING:
    from influence_store.jobs.ingest import IngestReport
    from influence_store.jobs.refresh import Plan
    from influence_store.protocols import Embedder
    from influence_store.store.store import Store


@writing_verb
@click.option("--database", metavar="URL", help="postgresql+psycopg://USER@HOST/NAME for teams.")
def init(ctx: Context, database: str | None) -> None:
    """Create a store: SQLite beside the blocks, or a PostgreSQL catalog."""
    from influence_store.store.location import would_create
    from influence_store.store.store import Store

    address = database or ctx.place.database
    if ctx.dry_run:
        uri, fresh = would_create(ctx.place.uri, address)
    else:
        store, fresh = Store.init(ctx.place.uri, __version__, address)
        uri = store.uri
    done = "created" if fresh else "is a store already:"
    emit_facts(ctx, {"store": uri, "created": fresh}, [f"{done} {uri}"])


@writing_verb
@click.argument("paths", nargs=-1)
@click.option("--dataset", required=True, help="Name of the dataset, e.g. support-chats.")
@click.option("--map", "pairs", multiple=True, metavar="FIELD=KEY", help="Say what a key means.")
@click.option(
    "--on-error",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="What to do about records that cannot be read.",
)
@click.option("--removed", metavar="FILE", help="Rows (or sample ids) that leave the dataset.")
@click.option("--snapshot", is_flag=True, help="The files are the whole new version.")
@click.option("--tag", help="A lasting name for the new version.")
@click.option("--no-fill", is_flag=True, help="Do not embed and fill the new rows.")
@click.option(
    "--rejects",
    type=click.Path(path_type=Path),
    default=Path("rejects.jsonl"),
    show_default=True,
    help="Where --on-error skip writes what it left out.",
)
@click.option(
    "--max-record-bytes",
    type=Size(),
    default="8M",
    show_default=True,
    help="Longest record that is read.",
)
@click.option("--allow-empty", is_flag=True, help="Keep samples with a blank response.")
def ingest(
    ctx: Context,
    paths: tuple[str, ...],
    dataset: str,
    pairs: tuple[str, ...],
    on_error: str,
    removed: str | None,
    snapshot: bool,
    tag: str | None,
    no_fill: bool,
    rejects: Path,
    max_record_bytes: int,
    allow_empty: bool,
) -> None:
    """Add files as a new dataset version; then embed and fill its new rows.

    PATHS: .jsonl, .json, .csv, .parquet, each also .gz or .zst; - reads JSON lines from stdin.
    """
    from influence_store.ingest.spool import ReadSettings
    from influence_store.jobs.ingest import ingest as job
    from influence_store.jobs.refresh import plan, refresh

    if not paths and removed is None:
        raise UsageError("nothing to ingest", hint="name files, - for stdin, or --removed FILE")
    store = ctx.open()
    report = job(
        store,
        paths,
        dataset,
        settings=ReadSettings(key_values(pairs, "--map"), max_record_bytes, allow_empty),
        skip_errors=on_error == "skip",
        removed=removed,
        snapshot=snapshot,
        tag=tag,
        rejects=None if ctx.dry_run else rejects,
    )
    version = store.version(f"{dataset}@{report.version}")
    todo = plan(store, version)
    if ctx.dry_run:
        _tell_dry_run(ctx, store, report, todo)
        return
    # The version stands, whatever happens to its columns next: so it is told first.
    if not ctx.as_json:
        emit_facts(ctx, {}, [*report.lines(), *todo.lines("planned")])
    if not no_fill:
        todo = refresh(store, version, _open_embedder)
    facts = {**report.facts(), "plan": todo.facts(), "done": not no_fill}
    facts["drift"] = [one.facts() for one in todo.drift]
    emit_facts(ctx, facts, [] if no_fill else todo.lines("done"))


@writing_verb
@click.argument("dataset")
@click.option("--embedder", required=True, help="Folder, hub id, `hashing`, or a name used before.")
@on_an_engine
def embed(ctx: Context, dataset: str, embedder: str, **engine: Any) -> None:
    """Compute the missing embeddings of DATASET[@VERSION]."""
    from influence_store.embedding import absolute_spec
    from influence_store.jobs.embed import embed as job
    from influence_store.jobs.embed import source_of

    store = ctx.open()
    version = store.version(dataset)
    executor = ctx.executor(**engine)
    embedder = source_of(store, embedder)
    opened = _open_embedder(embedder)
    if ctx.dry_run:
        from influence_store.jobs.column_plan import plan_embed

        emit_report(ctx, plan_embed(store, version, opened))
        return
    # `ingest` opens it again later, maybe from another directory.
    emit_report(ctx, job(store, version, opened, absolute_spec(embedder), executor))


@writing_verb
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--format", "form", required=True, help="less, bergson, dattri, kronfluence, …")
@click.option("--identity", type=click.Path(path_type=Path), help="Manifest; default: beside it.")
def import_(ctx: Context, path: Path, form: str, identity: Path | None) -> None:
    """Keep scores that another tool computed; a manifest must say what they are.

    Formats: less, bergson, dattri, kronfluence, data-juicer, parquet.
    """
    from influence_store.jobs.import_scores import import_scores

    emit_report(ctx, import_scores(ctx.open(), path, form, identity))


@writing_verb
@click.argument("selection")
@click.option("--to", "form", default="jsonl", show_default=True, help="A format.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier export at that place.")
def export(ctx: Context, selection: str, form: str, out: Path, overwrite: bool) -> None:
    """Write a selection in a trainer's own format, with a manifest that leads back to its rows.

    Formats: jsonl (the source records), trl, trl-messages, llama-factory, axolotl, openai, hf,
    parquet.
    """
    from influence_store.jobs.export import export as job

    if ctx.dry_run:
        from influence_store.exporters.bundle import check_free

        check_free(out, overwrite)
    there = ctx.folder_for(out)
    report = job(ctx.open(), selection, form, there, overwrite=overwrite)
    emit_report(ctx, replace(report, path=str(out)))


def _tell_dry_run(ctx: Context, store: Store, report: IngestReport, todo: Plan) -> None:
    """What the version would hold, and what its new rows would cost to embed."""
    from influence_store.jobs.column_plan import plan_embed

    version = store.version(f"{report.dataset}@{report.version}")
    costs = [
        plan_embed(store, version, _open_embedder(source))
        for producer, source in store.active(version.dataset_id)
        if producer.kind == "embedding" and todo.embeddings[producer.name]
    ]
    facts = {**report.facts(), "plan": todo.facts(), "costs": [cost.facts() for cost in costs]}
    lines = [line for cost in costs for line in cost.lines()]
    emit_facts(ctx, facts, [*report.lines(), *todo.lines("planned"), *lines])


def _open_embedder(spec: str) -> Embedder:
    from influence_store.embedding import open_embedder

    return open_embedder(spec, cache=cache_dir())
