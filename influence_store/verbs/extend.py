"""What do other packages add?"""

from __future__ import annotations

import click

from influence_store.settings import cache_dir
from influence_store.shell import Context, emit_report, verb


@verb
@click.option(
    "--check",
    "spec",
    metavar="NAME[:LOCATION]",
    help="Does this method or embedder keep its laws?",
)
def plugins(ctx: Context, spec: str | None) -> None:
    """Methods, embedders, exporters, set functions …: who brings them, and do they load?

    \b
    influence-store plugins
    influence-store plugins --check hashing:64
    """
    from influence_store.jobs.plugins import check_plugin, list_plugins

    emit_report(ctx, list_plugins() if spec is None else check_plugin(spec, cache_dir()))
