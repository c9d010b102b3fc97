"""Does anything like a Ray cluster listen at an address? Asked before Ray is.

Ray waits a quarter of an hour for a cluster that is not there, and tells nothing until then.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from influence_store.errors import Unreachable, UsageError

#: Any cluster that Ray finds by itself.
AUTO = "auto"
#: What every server that speaks HTTP/2, as Ray's do, answers with at once: a frame of settings.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
_FRAME_BYTES, _SETTINGS = 9, 4
_SECONDS = 5.0
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def check_address(ray: Any, address: str) -> None:
    """UsageError unless HOST:PORT or auto; Unreachable if no cluster can be there, in seconds."""
    if address == AUTO:
        return
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or "://" in address or not (port.isascii() and port.isdigit()):
        raise UsageError(
            f"{address!r} is no address of a Ray cluster", hint="--address HOST:PORT, or auto"
        )
    # Ray takes the machine's own address for a loopback one, and so does this.
    there = ray.util.get_node_ip_address() if host in _LOOPBACK else host
    try:
        found = _answers(there, int(port))
    except (OSError, OverflowError, UnicodeError) as error:
        raise unreachable(address, str(error) or type(error).__name__) from error
    if not found:
        raise unreachable(address, "what listens there is something else")


def unreachable(address: str, why: str) -> Unreachable:
    """No cluster, and what to look at."""
    return Unreachable(
        f"no Ray cluster answers at {address}: {why}",
        hint="see: ray status --address HOST:PORT; one that asks for a token is reached with "
        "RAY_AUTH_MODE=token in the environment; or leave --address out",
    )


def _answers(host: str, port: int) -> bool:
    """Whether it is an HTTP/2 server, as far as can be seen without its certificate."""
    with socket.create_connection((host, port), timeout=_SECONDS) as connection:
        if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
            return True
        connection.sendall(_PREFACE)
        told = b""
        while len(told) < _FRAME_BYTES and (more := connection.recv(_FRAME_BYTES - len(told))):
            told += more
    return len(told) == _FRAME_BYTES and told[3] == _SETTINGS
