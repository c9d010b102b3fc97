"""Which schema has the catalog, and who may use it?"""

from __future__ import annotations

import click

from influence_store.shell import Context, Verbs, emit_report, verb, writing_verb


@writing_verb
def migrate(ctx: Context) -> None:
    """Bring a store of an older version to this one's schema; take a backup first.

    Nobody may be at work meanwhile. Done already is done: nothing happens then.
    """
    from influence_store.jobs.migrate import migrate as job

    emit_report(ctx, job(ctx.place.uri, ctx.place.database, plan_only=ctx.dry_run))


@click.group(cls=Verbs)
def team() -> None:
    """Teams of a PostgreSQL catalog: roles that see nothing of each other."""


@writing_verb
@click.argument("role")
def add(ctx: Context, role: str) -> None:
    """Let an existing ROLE of the server work in this store, with its own rows and files.

    \b
    influence-store team add support
    """
    from influence_store.jobs.teams import add_team

    emit_report(ctx, add_team(ctx.open_to_read(), role, plan_only=ctx.dry_run))


@verb
def list_(ctx: Context) -> None:
    """The roles that were let in."""
    from influence_store.jobs.teams import list_teams

    emit_report(ctx, list_teams(ctx.open()))


team.add_command(add)
team.add_command(list_)
