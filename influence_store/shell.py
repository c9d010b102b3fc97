"""How the command line behaves: shared flags, errors as messages and exit codes, Ctrl-C.

What the verbs do is in `verbs/`.
"""

from __future__ import annotations

import logging
import shlex
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from influence_store.errors import InfluenceStoreError, UsageError
from influence_store.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from influence_store.store.store import Store

JSON_HELP = "One JSON document on stdout."
_QUIET = "No progress, only warnings."
_MORE = "Details on stderr."


@dataclass
class Context:
    """What the group options say; `as_json` may also be set behind the verb."""

    uri: str
    as_json: bool = False

    def open(self) -> Store:
        """The store, or NotFound with the `init` line."""
        from influence_store.store.store import Store

        return Store.open(self.uri, __version__)


class Verbs(click.Group):
    """Lists the verbs in the order of the work, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """As they stand in this file."""
        return list(self.commands)


class Verb(click.Command):
    """A command that also takes --json, -q and -v, before or behind its name."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            _flag("--json", JSON_HELP, _set_json),
            _flag("-q", "--quiet", _QUIET, _set_quiet),
            _flag("-v", "--verbose", _MORE, _set_verbose),
        ]


def verb(function: Callable[..., None]) -> Verb:
    """Make a function a verb; its first parameter is the Context."""
    name = function.__name__.rstrip("_").replace("_", "-")
    return click.command(name, cls=Verb)(click.pass_obj(function))


def emit_report(ctx: Context, report: Any) -> None:
    """Print a job's report, for people or as JSON."""
    from influence_store.output import emit

    emit(report.facts(), report.lines(), as_json=ctx.as_json)


def key_values(pairs: tuple[str, ...], option: str) -> dict[str, str]:
    """Options of the form NAME=VALUE; UsageError for any other."""
    values = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise UsageError(f"{option} {pair!r} is not of the form NAME=VALUE")
        values[key] = value
    return values


def _flag(*spelled: Any) -> click.Option:
    *names, help_text, callback = spelled
    return click.Option(
        list(names), is_flag=True, expose_value=False, help=help_text, callback=callback
    )


def _set_json(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Context).as_json = True


def _set_quiet(_ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        logging.getLogger("influence_store").setLevel(logging.WARNING)


def _set_verbose(_ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        logging.getLogger("influence_store").setLevel(logging.DEBUG)


#: For the group itself, so that the flags may also stand before the verb.
quiet_option = click.option(
    "-q", "--quiet", is_flag=True, callback=_set_quiet, expose_value=False, help=_QUIET
)
verbose_option = click.option(
    "-v", "--verbose", is_flag=True, callback=_set_verbose, expose_value=False, help=_MORE
)


def run(cli: click.Group) -> None:
    """Run the command line of this process; ends it with the exit code that fits."""
    logger = logging.getLogger("influence_store")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        _say_how_to_resume()
        sys.exit(130)
    except KeyboardInterrupt:
        _say_how_to_resume()
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except InfluenceStoreError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_code)


def _interrupted(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _say_how_to_resume() -> None:
    again = shlex.join(["influence-store", *sys.argv[1:]])
    click.echo(f"\ninterrupted; what was published stays. To go on: {again}", err=True)
