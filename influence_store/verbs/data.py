"""What comes into a store, and what leaves it as files?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from influence_store.errors import UsageError
from influence_store.settings import cache_dir
from influence_store.shell import Context, emit_report, key_values, verb
from influence_store.version import __version__

if TYPE_CHECKING:
    from influence_store.protocols import Embedder


@verb
@click.option("--database", metavar="URL", help="postgresql+psycopg://USER@HOST/NAME for teams.")
def init(ctx: Context, database: str | None) -> None:
    """Create a store: SQLite beside the blocks, or a PostgreSQL catalog."""
    from influence_store.output import emit
    from influence_store.store.store import Store

    store, fresh = Store.init(ctx.place.uri, __version__, database or ctx.place.database)
    done = "created" if fresh else "is a store already:"
    facts = {"store": store.uri, "created": fresh}
    emit(facts, [f"{done} {store.uri}"], as_json=ctx.as_json)


@verb
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
    type=click.IntRange(min=1),
    default=8 << 20,
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
    from influence_store.output import emit

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
        rejects=rejects,
    )
    version = store.version(f"{dataset}@{report.version}")
    todo = plan(store, version)
    # The version stands, whatever happens to its columns next: so it is told first.
    if not ctx.as_json:
        emit({}, [*report.lines(), *todo.lines("planned")], as_json=False)
    if not no_fill:
        todo = refresh(store, version, _open_embedder)
    facts = {**report.facts(), "plan": todo.facts(), "done": not no_fill}
    facts["drift"] = [one.facts() for one in todo.drift]
    emit(facts, [] if no_fill else todo.lines("done"), as_json=ctx.as_json)


@verb
@click.argument("dataset")
@click.option("--embedder", required=True, help="Model folder, hub id, or `hashing`.")
def embed(ctx: Context, dataset: str, embedder: str) -> None:
    """Compute the missing embeddings of DATASET[@VERSION]."""
    from influence_store.embedding import absolute_spec
    from influence_store.jobs.embed import embed as job

    store = ctx.open()
    version = store.version(dataset)
    # `ingest` opens it again later, maybe from another directory.
    emit_report(ctx, job(store, version, _open_embedder(embedder), absolute_spec(embedder)))


@verb
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--format", "form", required=True, help="less, bergson, dattri, kronfluence, …")
@click.option("--identity", type=click.Path(path_type=Path), help="Manifest; default: beside it.")
def import_(ctx: Context, path: Path, form: str, identity: Path | None) -> None:
    """Keep scores that another tool computed; a manifest must say what they are.

    Formats: less, bergson, dattri, kronfluence, data-juicer, parquet.
    """
    from influence_store.jobs.import_scores import import_scores

    emit_report(ctx, import_scores(ctx.open(), path, form, identity))


@verb
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

    emit_report(ctx, job(ctx.open(), selection, form, out, overwrite=overwrite))


def _open_embedder(spec: str) -> Embedder:
    from influence_store.embedding import open_embedder

    return open_embedder(spec, cache=cache_dir())
