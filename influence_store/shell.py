"""How the command line behaves: shared flags, errors as messages and exit codes, Ctrl-C.

What the verbs do is in `verbs/`.
"""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import re
import shlex
import signal
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NoReturn

import click

from influence_store.errors import InfluenceStoreError, StorageError, UsageError
from influence_store.extras import check
from influence_store.meter import one_verb
from influence_store.options import Whole
from influence_store.output import LogFormatter, emit, exact, message
from influence_store.redact import credentials_in, redact
from influence_store.settings import DATABASE_VARIABLE
from influence_store.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from influence_store.execution import Executor
    from influence_store.settings import Place
    from influence_store.store.store import Store

JSON_HELP = "One JSON document on stdout."
_QUIET = "No progress, only warnings."
# As an argument, or as --option=…
_ADDRESS = re.compile(r"^(?:--?[\w-]+=)?(?P<url>[a-z][a-z0-9+.-]*://.*)", re.IGNORECASE)
_MORE = "Details on stderr."
_DRY = "Say what would be done and what it costs; write nothing."
#: As a shell tells SIGPIPE: whoever read the output has enough.
_NO_READER = 141
DRY_RUN = "dry run, nothing is written; this is what would be done:"


@dataclass
class Context:
    """What the group options say; `as_json` may also stand behind a verb, `dry_run` only there."""

    place: Place
    as_json: bool = False
    dry_run: bool = False

    def open(self) -> Store:
        """The store, or NotFound with the `init` line; in a dry run a copy that is thrown away."""
        store = self.open_to_read()
        if not self.dry_run:
            return store
        from influence_store.jobs.rehearsal import rehearsal

        return click.get_current_context().with_resource(rehearsal(store))

    def executor(self, engine: str, address: str | None, workers: int | None) -> Executor:
        """Who does the work until the verb ends; a dry run is always done here."""
        from influence_store.execution import LOCAL, open_executor

        if self.dry_run:
            return LOCAL
        opened = open_executor(engine, address, workers)
        return click.get_current_context().with_resource(opened)

    def open_to_read(self) -> Store:
        """The store itself, also in a dry run: for what only plans."""
        from influence_store.store.store import Store

        return Store.open(self.place.uri, __version__, self.place.database)

    def folder_for(self, path: Path) -> Path:
        """Where to write what shall become `path`; in a dry run a place that is thrown away."""
        if not self.dry_run:
            return path
        here = click.get_current_context().with_resource(TemporaryDirectory())
        return Path(here, path.name)


class Verbs(click.Group):
    """Lists the verbs by section, in the order of the work, not of the alphabet."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sections: dict[str, list[str]] = {}

    def add(self, section: str, command: click.Command) -> None:
        """Add a verb below the title of a section."""
        self.add_command(command)
        assert command.name is not None
        self._sections.setdefault(section, []).append(command.name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """As they were added."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A list of verbs per section."""
        for title, names in self._sections.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(one, self.commands[one].get_short_help_str(200)) for one in names]
                )


class Verb(click.Command):
    """A command that also takes --json, -q and -v, before or behind its name.

    One that `writes` takes --dry-run, too.
    """

    def __init__(self, *args: Any, writes: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.writes = writes
        self.params += [_flag("--dry-run", "--plan", _DRY, _set_dry_run)] if writes else []
        self.params += [
            _flag("--json", JSON_HELP, _set_json),
            _flag("-q", "--quiet", _QUIET, _set_quiet),
            _flag("-v", "--verbose", _MORE, _set_verbose),
        ]

    def invoke(self, ctx: click.Context) -> Any:
        """What the verb takes is counted by its runs."""
        try:
            with one_verb():
                return super().invoke(ctx)
        except BrokenPipeError:
            # Of `| head`. click would end with 1, which stands for a bug of ours.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(_NO_READER)


def verb(function: Callable[..., None]) -> Verb:
    """Make a function a verb; its first parameter is the Context."""
    name = function.__name__.rstrip("_").replace("_", "-")
    return click.command(name, cls=Verb)(click.pass_obj(function))


def writing_verb(function: Callable[..., None]) -> Verb:
    """The same for one that changes the store, or writes a file."""
    name = function.__name__.rstrip("_").replace("_", "-")
    return click.command(name, cls=Verb, writes=True)(click.pass_obj(function))


def on_an_engine(function: Callable[..., None]) -> Callable[..., None]:
    """Options of a verb whose work may be done on other machines; see `Context.executor`."""
    for option in (
        click.option("--workers", type=Whole(min=1), help="Of Ray; default: its cores."),
        click.option("--address", metavar="HOST:PORT|auto", help="A Ray cluster; default: here."),
        click.option(
            "--engine",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            callback=_check_engine,
            help="Who works on it.",
        ),
    ):
        function = option(function)
    return function


def _check_engine(_ctx: click.Context, _param: click.Parameter, engine: str) -> str:
    """Before any work: what is not installed is not found out after a model was loaded."""
    if engine == "ray":
        check("ray", extra="ray")
    return engine


def emit_report(ctx: Context, report: Any) -> None:
    """Print a job's report, for people or as JSON."""
    emit_facts(ctx, report.facts(), report.lines())


def emit_facts(ctx: Context, facts: Mapping[str, Any], lines: Sequence[str]) -> None:
    """Print facts as JSON, or lines for people; of a dry run it is said that it was one."""
    if ctx.dry_run:
        facts, lines = {**facts, "dry_run": True}, [DRY_RUN, *lines]
    emit(facts, lines, as_json=ctx.as_json)


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


def _set_dry_run(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Context).dry_run = True


def _set_quiet(_ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        logging.getLogger("influence_store").setLevel(logging.WARNING)


def _set_verbose(_ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        logging.getLogger("influence_store").setLevel(logging.DEBUG)


#: A seed that every generator of random numbers takes.
SEED = Whole(0, 2**32 - 1)

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
    handler.setFormatter(LogFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        _refuse_secrets(sys.argv[1:])
        cli.main(prog_name=cli.name, standalone_mode=False)
    except click.exceptions.Abort:
        _say_how_to_resume()
        sys.exit(130)
    except KeyboardInterrupt:
        _say_how_to_resume()
        sys.exit(130)
    except click.ClickException as error:
        told = io.StringIO()
        error.show(file=told)
        usage, _, why = told.getvalue().rstrip().partition("Error: ")
        click.echo(message(usage), err=True, nl=not why)
        _fail(UsageError.code, error.exit_code, why)
    except InfluenceStoreError as error:
        _fail(error.code, error.exit_code, str(error), error.hint)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            _fail(InfluenceStoreError.code, 1, traceback.format_exc())
        hint = "make room (see: df -h), then run the same command again"
        full = f"{error.filename or 'the output'} cannot be written: {error.strerror}"
        _fail(StorageError.code, StorageError.exit_code, f"{full}\n  {hint}", hint)
    except Exception:  # a bug of ours; what it holds is no more to be shown than any other error
        _fail(InfluenceStoreError.code, 1, traceback.format_exc())


def _fail(code: str, exit_code: int, told: str, hint: str = "") -> NoReturn:
    """End with `error[CODE]: …` on stderr, whose last line is one JSON document if asked for."""
    if told:
        click.echo(message(f"error[{code}]: {told}"), err=True)
    if "--json" in sys.argv[1:]:
        text = told.removesuffix(f"\n  {hint}") if hint else told
        facts = {
            "code": code,
            "exit_code": exit_code,
            "message": redact(text),
            "hint": redact(hint),
        }
        click.echo(exact(json.dumps({"error": facts})), err=True)
    sys.exit(exit_code)


def _refuse_secrets(words: Sequence[str]) -> None:
    """UsageError if an address that was typed holds a password, or a key."""
    for word in words:
        address = _ADDRESS.search(word)
        if address is not None and credentials_in(address["url"]):
            raise UsageError(
                "an address on the command line holds a password, which everybody on this machine "
                "can see",
                hint=f"set ${DATABASE_VARIABLE}, PGPASSWORD or the variables of AWS instead",
            )


def _interrupted(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _say_how_to_resume() -> None:
    again = shlex.join(["influence-store", *sys.argv[1:]])
    told = f"interrupted; what was published stays. To go on: {again}"
    click.echo(f"\n{message(told)}", err=True)
