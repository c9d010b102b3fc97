"""What do other stores know that need not be computed here?"""

from __future__ import annotations

import click

from influence_store.errors import NotFound, StoreNotFound, UsageError
from influence_store.settings import Place, profiles
from influence_store.shell import Context, emit_report, writing_verb
from influence_store.version import __version__


@writing_verb
@click.argument("source")
@click.option("--only", multiple=True, metavar="NAME", help="An embedder or method; default: all.")
@click.option("--estimator", "estimators", multiple=True, metavar="NAME", help="Or `all`.")
@click.option("--with-texts", metavar="DATASET", help="A dataset[@VERSION] there: its rows too.")
@click.option("--as", "named", metavar="NAME", help="What the copied dataset is called here.")
def pull(
    ctx: Context,
    source: str,
    only: tuple[str, ...],
    estimators: tuple[str, ...],
    with_texts: str | None,
    named: str | None,
) -> None:
    """Copy what the store SOURCE (a URI or a profile) knows of samples that are here too.

    Facts only: embeddings, labels, token counts; no text, unless a dataset is named. What it saved
    is printed.
    """
    from influence_store.jobs.pull import pull as job
    from influence_store.store.store import Store

    if named is not None and with_texts is None:
        raise UsageError("--as names the copy of a dataset", hint="add --with-texts DATASET")
    known = profiles()
    there = known.get(source) or Place(source)
    try:
        other = Store.open(there.uri, __version__, there.database)
    except NotFound as error:
        raise StoreNotFound(
            f"there is no store at {there.uri}; expected the folder or URI of one, or a profile",
            hint=f"profiles here: {', '.join(sorted(known)) or 'none'}",
        ) from error
    try:
        report = job(
            ctx.open(),
            other,
            only=only,
            estimators=estimators,
            with_texts=with_texts,
            named=named,
        )
        emit_report(ctx, report)
    finally:
        other.database.close()
