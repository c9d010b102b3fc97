"""Who may look at the store in a browser?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from influence_store.options import Whole
from influence_store.shell import Context, Verbs, emit_report, verb, writing_verb

if TYPE_CHECKING:
    from influence_store.serve.server import Opened


@verb
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=Whole(0, 65535),
    default=8765,
    show_default=True,
    help="0: any that is free.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A name that browsers call this server by.",
)
def serve(ctx: Context, host: str, port: int, hosts: tuple[str, ...]) -> None:
    """Read-only pages of the store for a browser: datasets, samples, selections, and why.

    \b
    influence-store serve
    influence-store serve --host 0.0.0.0 --allow-host influence.example.org
    """
    from influence_store.extras import require

    for module in ("fastapi", "jinja2", "uvicorn"):
        require(module, extra="serve")
    from influence_store.serve.server import serve as job

    def say(opened: Opened) -> None:
        if ctx.as_json:
            emit_report(ctx, opened)
        else:
            click.echo("\n".join(opened.lines()), err=True)

    job(ctx.open(), host, port, hosts=hosts, say=say)


@click.group(cls=Verbs)
def token() -> None:
    """Who may look at this store through `serve`; tokens are kept as hashes, for this user."""


@writing_verb
@click.option("--name", required=True, help="Whose it is.")
@click.option("--days", type=Whole(1, 3650), default=30, show_default=True, help="It ends then.")
@click.option(
    "--scope",
    type=click.Choice(["read", "texts"]),
    default="read",
    show_default=True,
    help="read: all but the texts of samples; texts: these too.",
)
def new(ctx: Context, name: str, days: int, scope: str) -> None:
    """Make a token and print it, this once.

    \b
    influence-store token new --name ann --days 7 --scope texts
    """
    from influence_store.serve.token_reports import new_token

    store = ctx.open_to_read()
    emit_report(ctx, new_token(store, name, scope, days, plan_only=ctx.dry_run))


@verb
def list_(ctx: Context) -> None:
    """The tokens of this store: names, scopes, and until when; never the tokens themselves."""
    from influence_store.serve.token_reports import list_tokens

    emit_report(ctx, list_tokens(ctx.open()))


@writing_verb
@click.argument("name")
def revoke(ctx: Context, name: str) -> None:
    """Let a token open nothing any more, from this moment."""
    from influence_store.serve.token_reports import revoke_token

    emit_report(ctx, revoke_token(ctx.open_to_read(), name, plan_only=ctx.dry_run))


for _verb in (new, list_, revoke):
    token.add_command(_verb)
