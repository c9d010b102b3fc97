"""Open the socket, say where it is, and serve until Ctrl-C or SIGTERM."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import uvicorn

from influence_store.errors import Forbidden, StorageError, UsageError
from influence_store.serve.access import Gate
from influence_store.serve.app import guarded, make_app
from influence_store.serve.tokens import TokenFile, make

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from influence_store.serve.tokens import Token
    from influence_store.store.store import Store

#: Answers that are made or waited for at once; further ones are refused with 503.
MOST_AT_ONCE = 64
_OWN_DAYS = 1.0
_BACKLOG = 64


@dataclass(frozen=True)
class Opened:
    """Where the pages are; `login` holds the token of this run, None where tokens are stored."""

    url: str
    login: str | None
    store: str
    beyond: bool

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return {"url": self.url, "login": self.login, "store": self.store}

    def lines(self) -> list[str]:
        """For people."""
        told = [f"{self.store} at {self.url} (read-only; Ctrl-C ends it)"]
        if self.beyond:
            told.append(
                "warning: others can reach this, and what they send is not encrypted. Put a server "
                "that speaks TLS in front"
            )
        if self.login is not None:
            told.append(f"open: {self.login}")
        else:
            told.append("log in with a token: influence-store token list")
        return told


def serve(
    store: Store,
    host: str,
    port: int,
    *,
    hosts: Sequence[str] = (),
    say: Callable[[Opened], None],
) -> None:
    """Serve `store` until interrupted; `say` is told once it can be reached.

    `hosts` are further names that this server is called by. UsageError for a host that others can
    reach while no token is stored, StorageError if the address is taken.
    """
    store.database.refuse_writes()
    store_id = store.database.store_id()
    tokens = TokenFile()
    listening = _listen(host, port)
    with listening:
        beyond = not _is_loopback(listening)
        held = _standing(tokens, store_id)
        if beyond and not held:
            raise UsageError(
                f"{host} can be reached by others, and no token is stored",
                hint="influence-store token new --name NAME",
            )
        secret, own = (None, None) if held else make("this-run", "texts", store_id, _OWN_DAYS)
        app = guarded(make_app(store, Gate(store_id, tokens, own)), [host, *hosts])
        url = _url(host, listening)
        login = None if secret is None else f"{url}login?token={secret}"
        say(Opened(url, login, store.uri, beyond))
        _run(app, listening)


def _run(app: Any, listening: socket.socket) -> None:
    """Uvicorn stops on SIGINT and SIGTERM, then raises the signal again for the command line."""
    uvicorn.Server(configured(app)).run(sockets=[listening])


def configured(app: Any) -> uvicorn.Config:
    """What the server promises: no log of what people look at, few connections, short waits."""
    return uvicorn.Config(
        app,
        http="h11",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=MOST_AT_ONCE,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
    )


def _standing(tokens: TokenFile, store_id: str) -> list[Token]:
    import time

    return [one for one in tokens.of(store_id) if one.holds(time.time())]


def _listen(host: str, port: int) -> socket.socket:
    """A socket on that very address; connections wait there until they are served."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UsageError(f"--host {host}: there is no such address", hint="127.0.0.1") from error
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(_BACKLOG)
    except PermissionError as error:
        opened.close()
        raise Forbidden(f"{host}:{port} may not be used", hint="--port 8765") from error
    except OSError as error:
        opened.close()
        told = f"{host}:{port} cannot be used: {error.strerror}"
        raise StorageError(told, hint="choose another --port, or 0 for any") from error
    return opened


def _is_loopback(listening: socket.socket) -> bool:
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def _url(host: str, listening: socket.socket) -> str:
    named = f"[{host}]" if ":" in host else host
    return f"http://{named}:{listening.getsockname()[1]}/"
