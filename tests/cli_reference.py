"""Writes docs/cli.md: what `--help` says of every verb, exit codes, variables.

python tests/cli_reference.py            # writes
python tests/cli_reference.py --print    # to stdout
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from influence_store import errors, settings
from influence_store.cli import SECTIONS, cli

FILE = Path(__file__).parents[1] / "docs" / "cli.md"
PROGRAM = "influence-store"
_WIDTH = 96
_VARIABLES = {
    settings.STORE_VARIABLE: "the store, where `--store` is not given "
    f"(else `{settings.DEFAULT_STORE}`)",
    settings.PROFILE_VARIABLE: "the profile, where `--profile` is not given",
    settings.DATABASE_VARIABLE: "the URL of the catalog, where it is not the one the store was "
    "made with; the place for a password, if there must be one",
    settings.CONFIG_VARIABLE: "the file of profiles, `config.toml`",
    settings.CACHE_VARIABLE: "where converted models are kept",
    settings.LEASE_VARIABLE: "after how long a run that nobody hears from loses its work (60)",
}
_HEAD = f"""\
# The command line

Made from the code by `python tests/cli_reference.py`; a test compares.

Results go to stdout, everything else to stderr. `--json` prints one document, `-q` and `-v` say
less and more; all three stand before or behind the verb. No colours are used. Ctrl-C stops any
verb; the same command again goes on.

For completion in the shell, put one of these into its start file:

```sh
eval "$(_INFLUENCE_STORE_COMPLETE=bash_source {PROGRAM})"    # or zsh_source
_INFLUENCE_STORE_COMPLETE=fish_source {PROGRAM} | source
```
"""


def reference() -> str:
    """The whole page."""
    parts = [_HEAD, _table("Exit codes", "code", "means", exit_codes())]
    told = {f"`{name}`": text for name, text in _VARIABLES.items()}
    parts.append(_table("Environment", "variable", "is", told))
    parts += [f"## {PROGRAM}\n\n{_help(cli, PROGRAM)}"]
    for title, verbs in SECTIONS.items():
        parts.append(f"## {title}\n")
        for verb in verbs:
            parts += _verb(verb, PROGRAM, "###")
    return "\n".join(parts)


def exit_codes() -> dict[str, str]:
    """Code → what it means, from the errors themselves."""
    codes = {"0": "done, or nothing to do", "1": "a bug of ours"}
    for kind in errors.InfluenceStoreError.__subclasses__():
        doc = " ".join((kind.__doc__ or "").partition("\n\n")[0].split())
        code = str(kind.exit_code)
        codes[code] = (
            f"{codes[code]} · {kind.__name__}: {doc}"
            if code in codes
            else (f"{kind.__name__}: {doc}")
        )
    ended = {"130": "interrupted by Ctrl-C or SIGTERM", "141": "nobody reads the output any more"}
    return {**dict(sorted(codes.items())), **ended}


def _verb(verb: click.Command, before: str, level: str) -> list[str]:
    name = f"{before} {verb.name}"
    parts = [f"{level} {name.removeprefix(PROGRAM + ' ')}\n\n{_help(verb, name)}"]
    if isinstance(verb, click.Group):
        for inner in verb.commands.values():
            parts += _verb(inner, name, level + "#")
    return parts


def _help(verb: click.Command, name: str) -> str:
    width = {"terminal_width": _WIDTH, "max_content_width": _WIDTH}
    context = click.Context(verb, info_name=name, **width, **cli.context_settings)
    return f"```text\n{verb.get_help(context)}\n```\n"


def _table(title: str, left: str, right: str, rows: dict[str, str]) -> str:
    lines = [f"| {key} | {value} |" for key, value in rows.items()]
    return "\n".join([f"## {title}\n", f"| {left} | {right} |", "|---|---|", *lines, ""])


if __name__ == "__main__":
    if "--print" in sys.argv:
        print(reference())
    else:
        FILE.write_text(reference())
