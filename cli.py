"""The command line: parse, open the store, call one job, print its report.

Results go to stdout, everything else to stderr. Exit codes: 0 done or nothing to do, 1 our bug,
2 usage, 3 bad data, 4 not found, 5 busy, 6 storage, 7 integrity, 8 incompatible, 9 forbidden,
130 interrupted.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from influence_store.errors import UsageError
from influence_store.settings import DEFAULT_STORE, STORE_VARIABLE, cache_dir
from influence_store.shell import (
    JSON_HELP,
    Context,
    Verb,
    Verbs,
    quiet_option,
    run,
    verbose_option,
)
from influence_store.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from influence_store.protocols import Embedder


_FORMS = ("table", "csv", "json", "ndjson", "parquet")


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--store",
    "root",
    default=DEFAULT_STORE,
    envvar=STORE_VARIABLE,
    show_default=True,
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="The store's directory.",
)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
@quiet_option
@verbose_option
@click.version_option(__version__, prog_name="influence-store")
@click.pass_context
def cli(ctx: click.Context, root: Path, as_json: bool) -> None:
    """Which of this data is worth training on? Keep, estimate and query LLM influence."""
    ctx.obj = Context(root, as_json)


def verb(function: Callable[..., None]) -> Verb:
    """Register a function as a verb of the command line."""
    name = function.__name__.rstrip("_").replace("_", "-")
    command = click.command(name, cls=Verb)(click.pass_obj(function))
    cli.add_command(command)
    return command


def _emit(ctx: Context, report: Any) -> None:
    from influence_store.output import emit

    emit(report.facts(), report.lines(), as_json=ctx.as_json)


@verb
def init(ctx: Context) -> None:
    """Create a store."""
    from influence_store.output import emit
    from influence_store.store.store import Store

    store, fresh = Store.init(ctx.root, __version__)
    done = "created" if fresh else "is a store already:"
    facts = {"store": str(store.root), "created": fresh}
    emit(facts, [f"{done} {store.root}"], as_json=ctx.as_json)


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
        settings=ReadSettings(_key_values(pairs, "--map"), max_record_bytes, allow_empty),
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
        refresh(store, version, _open_embedder)
    facts = {**report.facts(), "plan": todo.facts(), "done": not no_fill}
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
    _emit(ctx, job(store, version, _open_embedder(embedder), absolute_spec(embedder)))


@verb
@click.argument("dataset")
@click.option(
    "--method", "methods", multiple=True, help="See: influence-store methods. Default: delift."
)
@click.option("--model", help="Folder, .gguf file or hub id of the model to ask.")
@click.option("--targets", metavar="D[@V]", help="Whom to help; of pairs the default is D.")
@click.option("--subtasks", metavar="FIELD", help="Targets' field: mean within, then the best.")
@click.option("--rows", metavar="N|all", help="How many rows to ask about.")
@click.option("--pairs", type=click.IntRange(min=1), help="How many pairs to ask about.")
@click.option("--share", metavar="PERCENT", help="Share of rows (pairs: and of columns), e.g. 5%.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Time to measure.")
@click.option("--plan", "plan_only", is_flag=True, help="Measure for 20 s what it would cost.")
@click.option("--max-response-tokens", type=click.IntRange(min=1), help="Score only so many.")
@click.option("--max-tokens", type=click.IntRange(min=2), help="Longest text the model may read.")
@click.option("--warmup", default="5%", show_default=True, help="Share to fine-tune on.")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="E.g. rank=8, dim=512."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
def label(ctx: Context, dataset: str, **options: Any) -> None:
    """Ask a real model about rows or pairs of DATASET[@VERSION]; values are facts, kept forever.

    \b
    influence-store label demo --method delift --model M --pairs 2000
    influence-store label demo --method ifd --method perplexity --model M --rows all
    influence-store label demo --method less --targets exam --model M --share 20% --plan
    """
    from influence_store.jobs.label import label_by_options

    options["settings"] = _key_values(options["settings"], "--set")
    _emit(ctx, label_by_options(ctx.open(), dataset, cache=cache_dir(), **options))


@verb
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--format", "form", required=True, help="less, bergson, dattri, kronfluence, …")
@click.option("--identity", type=click.Path(path_type=Path), help="Manifest; default: beside it.")
def import_(ctx: Context, path: Path, form: str, identity: Path | None) -> None:
    """Keep scores that another tool computed; a manifest must say what they are.

    Formats: less, bergson, dattri, kronfluence, data-juicer, parquet.
    """
    from influence_store.jobs.import_scores import import_scores

    _emit(ctx, import_scores(ctx.open(), path, form, identity))


@verb
def methods(ctx: Context) -> None:
    """Which influence methods can be asked, what they need and what higher means."""
    from influence_store.jobs.methods import list_methods

    _emit(ctx, list_methods())


@verb
@click.argument("dataset")
@click.argument("sample_id")
@click.option("--method", default="cosine", show_default=True, help="A bilinear one, e.g. less.")
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="Rows.")
def top(ctx: Context, dataset: str, sample_id: str, method: str, k: int) -> None:
    """The rows of DATASET[@VERSION] that help one sample most, exactly."""
    from influence_store.jobs.top import top as job

    store = ctx.open()
    _emit(ctx, job(store, store.version(dataset), sample_id, method, k))


@verb
@click.argument("dataset")
@click.option("--method", default="delift", show_default=True, help="The teacher to imitate.")
@click.option("--output", help="Which of its outputs; default: the first.")
@click.option("--network", "networks", multiple=True, help="Candidate; repeat for several.")
@click.option(
    "--features",
    type=click.Choice(["free", "llm"]),
    default="free",
    show_default=True,
    help="llm costs one LLM pass for every row to be filled.",
)
@click.option("--targets", metavar="D[@V]", help="The label's target dataset.")
@click.option("--name", help="Name of the estimator; default: the output's name.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
def train(ctx: Context, dataset: str, targets: str | None, method: str, **options: Any) -> None:
    """Learn an estimator from the labels, judge it on held-out samples, store it as ONNX."""
    from influence_store.jobs.train import train as job

    store = ctx.open()
    version = store.version(dataset)
    served = store.version(targets) if targets else version
    _emit(ctx, job(store, version, served, method, **options))


@verb
@click.argument("dataset")
@click.option("--estimator", help="Name or fingerprint; default: the newest.")
def fill(ctx: Context, dataset: str, estimator: str | None) -> None:
    """Estimate the influence of every row of DATASET that has none yet."""
    from influence_store.jobs.estimators import find_estimator
    from influence_store.jobs.fill import fill as job

    store = ctx.open()
    _emit(ctx, job(store, store.version(dataset), find_estimator(store, estimator)))


@verb
@click.argument("sql")
@click.option("--param", "pairs", multiple=True, metavar="NAME=VALUE", help="Bound as $NAME.")
@click.option("--format", "form", type=click.Choice(_FORMS), help="Default: table.")
def query(ctx: Context, sql: str, pairs: tuple[str, ...], form: str | None) -> None:
    """Read-only SQL. Views: one per dataset and version, samples, pairs, selections, runs, …

    \b
    influence-store query "select sample_id, est_delift_l2 from demo order by 2 desc limit 5"
    """
    from influence_store.output import emit_table
    from influence_store.query import query as job

    table = job(ctx.open(), sql, _key_values(pairs, "--param"))
    emit_table(table, form or ("json" if ctx.as_json else "table"))


@verb
@click.argument("dataset")
@click.option("--budget", required=True, help="Samples or share: 500, 10%.")
@click.option("--objective", help="Default: a set function, as options suggest.")
@click.option("--kernel", help="cosine, an estimator or a bilinear method; default: the trusted.")
@click.option("--target", metavar="D[@V]", help="Choose what helps this dataset (FLQMI).")
@click.option("--given", metavar="D[@V]", help="Choose what adds to this dataset.")
@click.option("--by", metavar="COLUMN", help="Score for top and stratified, e.g. inf_ifd.")
@click.option("--like", metavar="SELECTION", help="Whose lengths length-matched resembles.")
@click.option("--vectors", metavar="NAME", help="Embedding or method that k-center stands on.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="E.g. drop_top=0.1.")
@click.option("--accept-weak", is_flag=True, help="Use an estimator whatever its verdict.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything random.")
def select(ctx: Context, dataset: str, settings: tuple[str, ...], **options: Any) -> None:
    """Choose the samples worth training on; print the id and the baselines.

    On a kernel: facility-location, flqmi (--target), flcg (--given). Without one: random,
    length-matched, longest, top, stratified, k-center (also --given).
    """
    from influence_store.jobs.choose import choose

    _emit(ctx, choose(ctx.open(), dataset, settings=_key_values(settings, "--set"), **options))


@verb
@click.argument("selection")
@click.option("--to", "form", default="jsonl", show_default=True, help="jsonl or trl.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier export at that place.")
def export(ctx: Context, selection: str, form: str, out: Path, overwrite: bool) -> None:
    """Write a selection in a trainer's own format, with a manifest that leads back to its rows."""
    from influence_store.jobs.export import export as job

    _emit(ctx, job(ctx.open(), selection, form, out, overwrite=overwrite))


@verb
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Runs.")
def log(ctx: Context, limit: int) -> None:
    """What was run, when, and what it cost."""
    from influence_store.jobs.status import log as job

    _emit(ctx, job(ctx.open(), limit))


@verb
def status(ctx: Context) -> None:
    """What the store holds, what is missing, and who is at work."""
    from influence_store.jobs.status import status as job

    _emit(ctx, job(ctx.open()))


@verb
@click.argument("folder", type=click.Path(path_type=Path), default=Path("influence-demo"))
def demo(ctx: Context, folder: Path) -> None:
    """Do the main job on small real data and models, in a new FOLDER."""
    from influence_store.demo.story import closing_lines, run_demo
    from influence_store.output import emit

    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", hint="name a new folder")

    def say(line: str) -> None:
        click.echo(line, err=ctx.as_json)

    done = run_demo(folder, say)
    facts = {
        name: getattr(part, "facts", lambda part=part: part)() for name, part in vars(done).items()
    }
    emit(facts, closing_lines(done, folder), as_json=ctx.as_json)


def _open_embedder(spec: str) -> Embedder:
    from influence_store.embedding import open_embedder

    return open_embedder(spec, cache=cache_dir())


def _key_values(pairs: tuple[str, ...], option: str) -> dict[str, str]:
    values = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise UsageError(f"{option} {pair!r} is not of the form NAME=VALUE")
        values[key] = value
    return values


def main() -> None:
    """Entry of the console script."""
    run(cli)


if __name__ == "__main__":
    main()
