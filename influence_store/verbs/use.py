"""What does the store know, and what should be trained on?"""

from __future__ import annotations

import shlex
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from influence_store.errors import NotFound, UsageError
from influence_store.options import Number, Whole
from influence_store.shell import (
    SEED,
    Context,
    Verb,
    emit_facts,
    emit_report,
    key_values,
    on_an_engine,
    verb,
    writing_verb,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FORMS = ("table", "csv", "json", "ndjson", "parquet", "arrow")

_TYPES: dict[str, Callable[[str], Any]] = {
    "": str,
    "text": str,
    "int": int,
    "float": float,
    "bool": {"true": True, "false": False}.__getitem__,
}
# The order follows the contents: rows that stay in the dataset keep their places in it.
_AT_RANDOM = (
    'select sample_id, prompt, response from "{view}" order by md5($seed || sample_id) limit $n'
)


@verb
@click.argument("sql")
@click.option(
    "--param",
    "pairs",
    multiple=True,
    metavar="NAME[:TYPE]=VALUE",
    help="Bound as $NAME; a text, or :int, :float, :bool.",
)
@click.option("--format", "form", type=click.Choice(FORMS), help="Default: table.")
@click.option(
    "--timeout",
    type=Number(min=0, min_open=True),
    default=60,
    show_default=True,
    help="Seconds.",
)
@click.option(
    "--memory", metavar="SIZE", default="4G", show_default=True, help="For the whole statement."
)
def query(
    ctx: Context,
    sql: str,
    pairs: tuple[str, ...],
    form: str | None,
    timeout: float,
    memory: str,
) -> None:
    """Read-only SQL. Views: one per dataset and version, samples, pairs, selections, runs, …

    \b
    influence-store query "select sample_id, est_delift_l2 from demo order by 2 desc limit 5"
    """
    from influence_store.output import emit_table
    from influence_store.query import query as job
    from influence_store.query.engine import Limits
    from influence_store.selection.plan import parse_memory

    limits = Limits(seconds=timeout, memory=parse_memory(memory))
    table = job(ctx.open(), sql, _typed(key_values(pairs, "--param")), limits)
    emit_table(table, form or ("json" if ctx.as_json else "table"))


def _typed(given: Mapping[str, str]) -> dict[str, Any]:
    """NAME:TYPE → VALUE as NAME → value; UsageError for a TYPE that there is not, or no such value.

    A text unless it is said, as a sample id may look like a number.
    """
    values = {}
    for spelled, text in given.items():
        name, _, kind = spelled.partition(":")
        if kind not in _TYPES:
            raise UsageError(
                f"--param {spelled}: there is no type {kind!r}",
                hint="known: text, int, float, bool",
            )
        try:
            values[name] = _TYPES[kind](text)
        except (ValueError, KeyError) as error:
            told = f"--param {spelled}={text}: {text!r} is no {kind}"
            raise UsageError(told, hint="e.g. n:int=10, p:float=0.9, yes:bool=true") from error
    return values


@verb
@click.argument("dataset")
@click.argument("n", type=Whole(min=1), default=10)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Another one, other rows.")
@click.option("--format", "form", type=click.Choice(FORMS), help="Default: table.")
def sample(ctx: Context, dataset: str, n: int, seed: int, form: str | None) -> None:
    """N rows of DATASET[@VERSION] at random; the same seed shows the same rows.

    \b
    influence-store sample demo 5
    """
    from influence_store.output import emit_table
    from influence_store.query import query as job

    store = ctx.open()
    view = str(store.version(dataset))
    table = job(store, _AT_RANDOM.format(view=view), {"seed": str(seed), "n": n})
    emit_table(table, form or ("json" if ctx.as_json else "table"))


@writing_verb
@click.argument("dataset")
@click.option("--budget", required=True, help="500, 10%, 200k-tokens, or auto: up to the knee.")
@click.option("--objective", help="A set function, a mixture of some, or a selector.")
@click.option("--kernel", help="cosine[:EMBEDDER], an estimator, a bilinear method, pairs:OUTPUT.")
@click.option("--target", multiple=True, metavar="D[@V][=WEIGHT]", help="What the picks serve.")
@click.option("--given", metavar="D[@V]", help="Choose what adds to this dataset.")
@click.option("--quota", multiple=True, metavar="ATTR:VALUE=A..B", help="source:web=..30%")
@click.option("--tokenizer", help="Counts tokens: a model folder, file or hub id.")
@click.option("--duplicates", metavar="POLICY", help="keep-first, longest, highest:COLUMN.")
@click.option("--keep-leaks", is_flag=True, help="Do not leave out rows that leak the target.")
@click.option("--from", "start", metavar="SELECTION", help="Its picks stay and count.")
@click.option("--memory", metavar="SIZE", help="At most this much at once; default 4G.")
@click.option(
    "--path",
    help="memory, tiles, neighbours, representatives, partitioned; default: the best.",
)
@click.option("--parts", type=Whole(2), help="For --path partitioned; default: by --memory.")
@click.option("--optimizer", help="Default: lazy-greedy, compiled where possible.")
@click.option("--by", metavar="COLUMN", help="Score for top and stratified, e.g. inf_ifd.")
@click.option("--like", metavar="SELECTION", help="Whose lengths length-matched resembles.")
@click.option("--vectors", metavar="NAME", help="Embedding or method that k-center stands on.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="E.g. drop_top=0.1.")
@click.option("--accept-weak", is_flag=True, help="Use an estimator whatever its verdict.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of everything random.")
@click.option("--lock", type=click.Path(path_type=Path), help="Also write the receipt here.")
@on_an_engine
def select(
    ctx: Context,
    dataset: str,
    settings: tuple[str, ...],
    lock: Path | None,
    engine: str,
    address: str | None,
    workers: int | None,
    **options: Any,
) -> None:
    """Choose the samples worth training on; print the id and the baselines.

    \b
    influence-store select D --budget 10%                       # instruction tuning
    influence-store select D --budget 10% --target EXAM         # what helps a task
    influence-store select D --budget 10% --given PAST          # what the model does not know yet

    On a kernel: facility-location, graph-cut, saturated-coverage, log-determinant, disparity-sum,
    disparity-min; flqmi, fl1mi, gcmi (--target); flcg, gccg (--given); flcmi (both); or a mixture:
    '0.7*flqmi + 0.3*graph-cut'. Without one: random, length-matched, longest, top, stratified,
    k-center (also --given).
    """
    from influence_store.jobs.choose import Asked, choose

    store = ctx.open()
    if engine != "local" and options["path"] != "partitioned":
        raise UsageError(
            "only a selection in parts is worked on elsewhere", hint="add: --path partitioned"
        )
    executor = ctx.executor(engine, address, workers)
    asked = Asked(**options)
    report = choose(store, dataset, asked, key_values(settings, "--set"), executor)
    if lock is not None and not ctx.dry_run:
        from influence_store.jobs.receipts import write_receipt

        write_receipt(store, report.id, lock)
    emit_report(ctx, report)


@verb
@click.option("--limit", type=Whole(1, 100_000), default=20, show_default=True, help="Runs.")
@click.option("--cost", is_flag=True, help="The ledger: spent by verb, and what was saved.")
@click.option("--dataset", metavar="D", help="Only what was done with D.")
def log(ctx: Context, limit: int, cost: bool, dataset: str | None) -> None:
    """What was run, when, and what it cost; --cost beside labelling everything."""
    if cost:
        from influence_store.jobs.log_cost import log_cost

        emit_report(ctx, log_cost(ctx.open(), dataset))
        return
    from influence_store.jobs.log import log as job

    emit_report(ctx, job(ctx.open(), limit, dataset=dataset))


@verb
def status(ctx: Context) -> None:
    """What the store holds, what is missing, and who is at work."""
    from influence_store.jobs.status import status as job

    emit_report(ctx, job(ctx.open()))


# What it does not know belongs to the other verb.
@click.command("plan", cls=Verb, context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[VERB ARGUMENTS... | D[@V]...]")
@click.pass_context
def plan(click_context: click.Context, words: tuple[str, ...]) -> None:
    """What is fresh, stale and missing; or what a VERB would do and cost, as its --dry-run.

    \b
    influence-store plan
    influence-store plan label demo --method less --model M --rows all
    """
    ctx: Context = click_context.obj
    group = click_context.find_root().command
    assert isinstance(group, click.Group)
    named = group.commands.get(words[0]) if words else None
    if named is not None and getattr(named, "writes", isinstance(named, click.Group)):
        with named.make_context(words[0], [*words[1:], "--dry-run"], parent=click_context) as inner:
            named.invoke(inner)
        return
    from influence_store.jobs.outlook import outlook

    store = ctx.open_to_read()
    try:
        versions = [store.version(one) for one in words] or store.heads()
    except NotFound as error:
        if named is None:
            near = get_close_matches(words[0], list(group.commands), n=1, cutoff=0.8)
            if near:
                told = f"{words[0]!r} is neither a verb nor a dataset"
                again = shlex.join(["influence-store", "plan", near[0], *words[1:]])
                raise NotFound(told, hint=f"did you mean: {again}") from error
            raise
        raise UsageError(
            f"{words[0]} writes nothing: there is nothing to plan",
            hint=f"run: {shlex.join(['influence-store', *words])}",
        ) from error
    emit_report(ctx, outlook(store, versions))


@verb
@click.argument("folder", type=click.Path(path_type=Path), default=Path("influence-demo"))
@click.option("--files-only", is_flag=True, help="Only its texts and models, to try verbs on.")
def demo(ctx: Context, folder: Path, files_only: bool) -> None:
    """Do the main job on small real data and models, in a new FOLDER."""
    from influence_store.demo.story import closing_lines, run_demo, write_files

    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", hint="name a new folder")
    if files_only:
        emit_report(ctx, write_files(folder))
        return

    def say(line: str) -> None:
        click.echo(line, err=ctx.as_json)

    done = run_demo(folder, say)
    facts = {
        name: getattr(part, "facts", lambda part=part: part)() for name, part in vars(done).items()
    }
    emit_facts(ctx, facts, closing_lines(done, folder))
