"""What do other stores know that need not be computed here?"""

from __future__ import annotations

import click

from influence_store.settings import Place, profiles
from influence_store.shell import Context, emit_report, verb
from influence_store.version import __version__


@verb
@click.argument("source")
@click.option("--only", multiple=True, metavar="NAME", help="An embedder or method; default: all.")
@click.option("--estimator", "estimators", multiple=True, metavar="NAME", help="Or `all`.")
def pull(ctx: Context, source: str, only: tuple[str, ...], estimators: tuple[str, ...]) -> None:
    """Copy what the store SOURCE (a URI or a profile) knows of samples that are here too.

    Facts only: embeddings, labels, token counts; never a text. What it saved is printed.
    """
    from influence_store.jobs.pull import pull as job
    from influence_store.store.store import Store

    there = profiles().get(source) or Place(source)
    other = Store.open(there.uri, __version__, there.database)
    try:
        emit_report(ctx, job(ctx.open(), other, only=only, estimators=estimators))
    finally:
        other.database.close()
