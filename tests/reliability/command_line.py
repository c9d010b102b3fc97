"""The whole command line in a forked child, with a signal or a full disk at a chosen moment."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from influence_store.cli import cli, main
from influence_store.store import artifacts, blocks, runs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from backends import Place


def ask(place: Place, *arguments: str) -> Any:
    """Run a verb in this process and return its JSON."""
    with place.surroundings():
        line = [*place.arguments, *arguments, "--json"]
        told = CliRunner().invoke(cli, line, standalone_mode=False)
    if told.exception is not None:
        raise told.exception
    return json.loads(told.stdout)


def in_child(
    place: Place,
    arguments: list[str],
    environment: Mapping[str, str] = {},
    told: Path | None = None,
    interrupt: tuple[str, int] | None = None,
) -> None:
    """In a child, as from a shell; what it says goes to `told`.

    `interrupt` = (step, signal): the child sends itself the signal when it passes the step.
    """
    if interrupt is not None:
        _interrupt_at(*interrupt)
    with place.surroundings():
        line_in_child([*place.arguments, *arguments], environment, told)


def line_in_child(
    line: list[str], environment: Mapping[str, str] = {}, told: Path | None = None
) -> None:
    """The same with a whole command line, in the surroundings that the child has."""
    os.environ.update({**environment, "OMP_NUM_THREADS": "1"})
    sys.argv = ["influence-store", *line]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdout = sys.stderr = open(told or os.devnull, "w", buffering=1)  # noqa: SIM115
    main()


def _interrupt_at(wanted: str, number: int) -> None:
    pending = [wanted]

    def step(name: str) -> None:
        if name in pending:
            pending.remove(name)
            os.kill(os.getpid(), number)

    for module in (runs, blocks, artifacts):
        module.step = step
