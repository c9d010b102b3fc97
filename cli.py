"""The command line: each verb parses, opens the store, calls one job and prints its report.

Results go to stdout, everything else to stderr. Exit codes: 0 done or nothing to do, 1 our bug,
2 usage, 3 bad data, 4 not found, 5 busy, 6 storage, 7 integrity, 8 incompatible, 9 forbidden,
130 interrupted.
"""

from __future__ import annotations

import click

from influence_store.settings import DEFAULT_STORE, PROFILE_VARIABLE, STORE_VARIABLE, place
from influence_store.shell import JSON_HELP, Context, Verbs, quiet_option, run, verbose_option
from influence_store.verbs.catalog import migrate, team
from influence_store.verbs.data import embed, export, import_, ingest, init
from influence_store.verbs.extend import plugins
from influence_store.verbs.keep import backup, doctor, gc, repair, restore, verify
from influence_store.verbs.learn import card, evaluate, fill, train
from influence_store.verbs.measure import label, methods, top
from influence_store.verbs.overlap import duplicates, leaks
from influence_store.verbs.prove import trial
from influence_store.verbs.serve import serve, token
from influence_store.verbs.share import pull
from influence_store.verbs.understand import explain, frontier, receipt, report
from influence_store.verbs.use import demo, log, plan, query, sample, select, status
from influence_store.verbs.versions import compact, delete, diff, forget, tag
from influence_store.version import __version__


@click.group("influence-store", cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--store",
    "uri",
    envvar=STORE_VARIABLE,
    show_envvar=True,
    metavar="URI",
    help=f"A directory or s3://bucket/prefix. [default: {DEFAULT_STORE}]",
)
@click.option(
    "--profile",
    envvar=PROFILE_VARIABLE,
    show_envvar=True,
    metavar="NAME",
    help="A store that the configuration file has a name for.",
)
@click.option("--json", "as_json", is_flag=True, help=JSON_HELP)
@quiet_option
@verbose_option
@click.version_option(__version__, prog_name="influence-store")
@click.pass_context
def cli(ctx: click.Context, uri: str | None, profile: str | None, as_json: bool) -> None:
    """Which of this data is worth training on? Keep, estimate and query LLM influence."""
    ctx.obj = Context(place(uri, profile), as_json)


#: The verbs in the order of the work, as `--help` lists them.
SECTIONS = {
    "Data": (init, ingest, embed, import_, pull, export),
    "Influence": (methods, label, train, card, fill, evaluate),
    "Questions": (query, top, sample, status, plan, log, diff),
    "Selection": (select, explain, frontier, trial, duplicates, leaks, receipt),
    "Pages": (report, serve, token),
    "Versions": (tag, delete, forget, compact),
    "Keeping the store": (verify, repair, gc, backup, restore, migrate, team, doctor),
    "Extensions": (plugins,),
    "Example": (demo,),
}
for _title, _verbs in SECTIONS.items():
    for _verb in _verbs:
        cli.add(_title, _verb)


def main() -> None:
    """Entry of the console script."""
    run(cli)


if __name__ == "__main__":
    main()
