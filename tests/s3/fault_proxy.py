"""A loopback proxy in front of an S3 server, which fails on demand and counts what passes."""

from __future__ import annotations

import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Not to be passed on: about this connection only, or set again when the answer is written.
_OWN_HEADERS = {"connection", "transfer-encoding", "content-length", "server", "date"}

#: As S3 says it: the answer repeats who asked.
FORBIDDEN = (
    b"<Error><Code>AccessDenied</Code><Message>no</Message>"
    b"<AWSAccessKeyId>canary-id</AWSAccessKeyId></Error>"
)


@dataclass
class Fault:
    """What happens to the first `times` requests of this method whose URL holds `part`.

    stored-500, stored-dropped: the server did it, the client hears a 500 or nothing;
    500, 403: refused before the server saw it; slow: one second late;
    cut: half of the answer's body, then the connection ends;
    kept: a request to delete is answered 200 with "access denied" for each key;
    no-precondition: `If-None-Match` is taken off, as by a server that does not know it.
    """

    kind: str
    method: str = "PUT"
    part: str = ""
    times: int = 1
    hits: int = 0

    def strikes(self, method: str, url: str) -> bool:
        if method != self.method or self.part not in url or self.hits >= self.times:
            return False
        self.hits += 1
        return True


@dataclass
class FaultProxy:
    """`endpoint` is what the client is told; `requests` are (method, URL) as they came in."""

    endpoint: str
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def failing(self, fault: Fault) -> Iterator[Fault]:
        self.faults.append(fault)
        try:
            yield fault
        finally:
            self.faults.remove(fault)

    def struck(self, method: str, url: str) -> str | None:
        with self.lock:
            self.requests.append((method, url))
            return next((one.kind for one in self.faults if one.strikes(method, url)), None)


@contextmanager
def proxy_to(endpoint: str) -> Iterator[FaultProxy]:
    """A running proxy to the server at `endpoint`."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.target = urlsplit(endpoint).netloc
    server.proxy = FaultProxy(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    target: str
    proxy: FaultProxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.server.proxy.struck(self.command, self.path)
        if kind in {"500", "403"}:
            self._answer(int(kind), {}, FORBIDDEN if kind == "403" else b"")
            return
        if kind == "kept":
            self._answer(200, {}, _kept(body))
            return
        if kind == "slow":
            time.sleep(1)
        status, headers, answer = self._ask(body, keep_precondition=kind != "no-precondition")
        if kind == "stored-500":
            self._answer(500, {}, b"")
        elif kind == "stored-dropped":
            self.close_connection = True
        elif kind == "cut":
            self._answer(status, headers, answer, sent=len(answer) // 2)
        else:
            self._answer(status, headers, answer)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on

    def _ask(self, body: bytes, *, keep_precondition: bool) -> tuple[int, dict[str, str], bytes]:
        told = {
            name: value
            for name, value in self.headers.items()
            if name.lower() != "connection"
            and (keep_precondition or name.lower() != "if-none-match")
        }
        connection = HTTPConnection(self.server.target, timeout=30)
        try:
            connection.request(self.command, self.path, body=body or None, headers=told)
            got: HTTPResponse = connection.getresponse()
            headers = {k: v for k, v in got.getheaders() if k.lower() not in _OWN_HEADERS}
            if self.command == "HEAD":
                headers["Content-Length"] = got.headers.get("Content-Length", "0")
            return got.status, headers, got.read()
        finally:
            connection.close()

    def _answer(
        self, status: int, headers: dict[str, str], body: bytes, sent: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:sent])
        if sent is not None:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing: what came in is in `requests`."""


def _kept(asked: bytes) -> bytes:
    """The answer to a request to delete, of which nothing may be deleted."""
    told = b"<Error><Key>%s</Key><Code>AccessDenied</Code><Message>no</Message></Error>"
    keys = re.findall(rb"<Key>(.*?)</Key>", asked)
    return b"<DeleteResult>%s</DeleteResult>" % b"".join(told % key for key in keys)
