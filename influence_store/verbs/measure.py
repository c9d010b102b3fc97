"""What do real models say about rows and pairs?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from influence_store.options import Number, Whole
from influence_store.settings import cache_dir
from influence_store.shell import (
    SEED,
    Context,
    emit_report,
    key_values,
    on_an_engine,
    verb,
    writing_verb,
)

if TYPE_CHECKING:
    pass


@writing_verb
@click.argument("dataset")
@click.option(
    "--method", "methods", multiple=True, help="See: influence-store methods. Default: delift."
)
@click.option("--model", help="Folder, .gguf file or hub id of the model to ask.")
@click.option("--targets", metavar="D[@V]", help="Whom to help; of pairs the default is D.")
@click.option("--subtasks", metavar="FIELD", help="Targets' field: mean within, then the best.")
@click.option("--rows", metavar="N|all", help="How many rows to ask about.")
@click.option("--pairs", type=Whole(min=1), help="How many pairs to ask about.")
@click.option("--share", metavar="PERCENT", help="Share of rows (pairs: and of columns), e.g. 5%.")
@click.option("--minutes", type=Number(min=0, min_open=True), help="Time to measure.")
@click.option(
    "--design", help="How pairs are laid out: complete (default), block, column, scatter, active."
)
@click.option("--again", type=Whole(min=20), help="Ask this many known pairs once more.")
@click.option("--max-response-tokens", type=Whole(min=1), help="Score only this many.")
@click.option("--max-tokens", type=Whole(min=2), help="Longest text the model may read.")
@click.option("--warmup", default="5%", show_default=True, help="Share to fine-tune on.")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="E.g. rank=8, dim=512."
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of everything random.")
@on_an_engine
def label(
    ctx: Context,
    dataset: str,
    engine: str,
    address: str | None,
    workers: int | None,
    **options: Any,
) -> None:
    """Ask a real model about rows or pairs of DATASET[@VERSION]; values are facts, kept forever.

    \b
    influence-store label demo --method delift --model M --pairs 2000
    influence-store label demo --method ifd --method perplexity --model M --rows all
    influence-store label demo --method less --targets exam --model M --share 20% --plan
    influence-store label demo --method delift --model M --pairs 2000 --design active
    """
    from influence_store.jobs.label import label_by_options
    from influence_store.jobs.label_shards import check_sendable

    if engine != "local":  # said before a cluster is started
        active, again = options["design"] == "active", options["again"] is not None
        check_sendable(options["methods"] or ("delift",), active=active, again=again)
    options["settings"] = key_values(options["settings"], "--set")
    # A plan that is measured writes nothing by itself, and shares what the store keeps of models.
    options["plan_only"] = ctx.dry_run
    executor = ctx.executor(engine, address, workers)
    report = label_by_options(
        ctx.open_to_read(), dataset, cache=cache_dir(), executor=executor, **options
    )
    emit_report(ctx, report)


@verb
def methods(ctx: Context) -> None:
    """Which influence methods can be asked, what they need and what higher means."""
    from influence_store.jobs.methods import list_methods

    emit_report(ctx, list_methods())


@verb
@click.argument("dataset")
@click.argument("sample_id")
@click.option("--method", default="cosine", show_default=True, help="A bilinear one, e.g. less.")
@click.option("-k", type=Whole(min=1), default=10, show_default=True, help="Rows.")
def top(ctx: Context, dataset: str, sample_id: str, method: str, k: int) -> None:
    """The rows of DATASET[@VERSION] that help one sample most, exactly."""
    from influence_store.jobs.top import top as job

    store = ctx.open()
    emit_report(ctx, job(store, store.version(dataset), sample_id, method, k))
