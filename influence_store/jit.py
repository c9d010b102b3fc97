"""How are the loops that numpy has no word for compiled, and who is told?

Once per installation and processor: numba keeps what it compiled beside the modules, or in its own
folder where those cannot be written. The first time costs seconds in which nothing else happens, so
it is said.

This module imports numba, which takes its time: import it inside functions.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar

import numba
from numba.core import event

if TYPE_CHECKING:
    from collections.abc import Callable

    F = TypeVar("F", bound=Callable[..., Any])

_log = logging.getLogger(__name__)


def compiled(*loosened: str) -> Callable[[F], F]:
    """A decorator: the function, compiled when first called, outside Python's lock.

    `loosened` are the rules of floating point that the compiler may set aside, as LLVM names them
    (`reassoc`: sums in any order; `contract`: multiply and add as one).
    """

    def compile_when_called(function: F) -> F:
        made: F = numba.njit(
            nogil=True, cache=True, error_model="numpy", fastmath=set(loosened) or False
        )(function)
        return made

    return compile_when_called


class _SayOnce(event.Listener):  # type: ignore[misc]
    """Says that something is compiled, the first time in a process."""

    def on_start(self, _event: event.Event) -> None:
        """Numba found nothing it had kept."""
        event.unregister(_KIND, self)
        _log.info("compiling loops for this processor: some seconds, once per installation")

    def on_end(self, _event: event.Event) -> None:
        """There is nothing to say."""


_KIND = "numba:compile"
event.register(_KIND, _SayOnce())
