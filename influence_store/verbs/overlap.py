"""Which rows repeat others, or what they will be judged on?"""

from __future__ import annotations

from typing import Any

import click

from influence_store.options import Whole
from influence_store.shell import Context, emit_report, on_an_engine, writing_verb


@writing_verb
@click.argument("dataset")
@click.option(
    "--jaccard", type=float, default=0.8, show_default=True, help="Shared runs of words, 0 to 1."
)
@click.option(
    "--cosine", type=float, default=0.95, show_default=True, help="Of stored embeddings, to 1."
)
@click.option("--shingle", type=Whole(min=1), default=3, show_default=True, help="Words in a run.")
@on_an_engine
def duplicates(
    ctx: Context, dataset: str, jaccard: float, cosine: float, shingle: int, **engine: Any
) -> None:
    """Which rows of DATASET[@VERSION] nearly repeat others; only new rows are compared.

    \b
    influence-store duplicates demo
    influence-store select demo --budget 500 --duplicates keep-first
    """
    from influence_store.jobs.duplicate_edges import Alike
    from influence_store.jobs.near_duplicates import duplicates as job

    store = ctx.open()
    alike = Alike(jaccard=jaccard, cosine=cosine, shingle=shingle)
    emit_report(ctx, job(store, store.version(dataset), alike, ctx.executor(**engine)))


@writing_verb
@click.argument("dataset")
@click.option("--target", required=True, metavar="D[@V]", help="What it will be judged on.")
@click.option(
    "--share",
    type=float,
    default=0.2,
    show_default=True,
    help="Of a target row's runs of 8 words, from which on it counts as leaked.",
)
@click.option(
    "--cosine", type=float, default=0.9, show_default=True, help="Of stored embeddings, to 1."
)
@click.option(
    "--common",
    type=float,
    default=0.001,
    show_default=True,
    help="Share of rows above which a run of words is boilerplate.",
)
def leaks(
    ctx: Context, dataset: str, target: str, share: float, cosine: float, common: float
) -> None:
    """Which rows of DATASET[@VERSION] hold rows of the target, word for word or nearly.

    \b
    influence-store leaks pool --target exam
    """
    from influence_store.jobs.leaks import Guard
    from influence_store.jobs.leaks import leaks as job

    store = ctx.open()
    guard = Guard(share=share, cosine=cosine, common=common)
    emit_report(ctx, job(store, store.version(dataset), store.version(target), guard))
