"""What holds for every answer, before any page is asked: known hosts, small requests, headers.

The host is checked because a page of somebody else can point its own name at this machine (DNS
rebinding) and then read our answers as its own; an address in digits cannot be pointed anywhere.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
import traceback
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse

from influence_store.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger(__name__)

LONGEST_ADDRESS = 4096
LONGEST_BODY = 4096
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses what is wrong with a request itself; adds `HEADERS` to whatever is answered."""

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower().rstrip(".") for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        if scope["type"] != "http":
            return
        begun = False

        async def with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if (refusal := self._refusal(scope)) is not None:
            await refusal(scope, receive, with_headers)
            return
        scope.setdefault("state", {})["incident"] = incident = secrets.token_hex(4)
        try:
            await self._app(scope, receive, with_headers)
        except asyncio.CancelledError:  # the server stops, and this page took too long to wait for
            if not begun:
                stopping = PlainTextResponse("The server is stopping.\n", 503)
                await stopping(scope, receive, with_headers)
        except Exception:  # a bug of ours: its page is answered by now, its trace stays here
            _log.error("incident %s\n%s", incident, redact(traceback.format_exc()))
            if not begun:
                raise

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = {name: value for name, value in scope["headers"]}
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._is_ours(host):
            shown = "".join(c for c in host[:80] if c.isalnum() or c in ".-:[]")
            told = (
                f"This server is not called {shown or 'nothing'}.\n"
                "If it should be: influence-store serve --allow-host NAME\n"
            )
            return PlainTextResponse(told, 421)
        if len(scope.get("raw_path", b"")) + len(scope["query_string"]) > LONGEST_ADDRESS:
            return PlainTextResponse("The address is too long.\n", 414)
        told = headers.get(b"content-length", b"0").decode("latin-1")
        if not told.isdecimal() or int(told[:12]) > LONGEST_BODY:
            return PlainTextResponse("The request is too large.\n", 413)
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether the Host header names this machine; its port may be that of a tunnel."""
        try:
            name = urlsplit(f"//{host}").hostname
            ipaddress.ip_address(name or "")
        except ValueError:
            return bool(host) and _bare(host) in self._hosts
        return "@" not in host and "/" not in host


def _bare(host: str) -> str:
    """Without port and final dot."""
    name, colon, port = host.rpartition(":")
    if colon and port.isdecimal():
        host = name
    return host.lower().rstrip(".")
