"""A real server on loopback over a small real store, and clients that send what they please."""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest
import uvicorn
from browser import browser, visit
from click.testing import CliRunner
from small_store import fill_store

from influence_store.cli import cli
from influence_store.serve.access import Gate, cookie_name
from influence_store.serve.app import guarded, make_app
from influence_store.serve.server import configured
from influence_store.serve.tokens import TokenFile, make
from influence_store.store.selections import all_selections
from influence_store.store.store import Store
from influence_store.version import __version__

__all__ = ["browser", "visit"]


@dataclass(frozen=True)
class Answer:
    """What came back; `text` is the body, `headers` are by lower-case name."""

    status: int
    headers: dict[str, str]
    text: str
    cookies: tuple[str, ...] = ()


@dataclass
class Served:
    """A running server; `secrets` are tokens by scope, `own` is the token of the run."""

    port: int
    app: Any
    gate: Gate
    tokens: TokenFile
    secrets: dict[str, str]
    own: str
    log: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, path: str, scope: str | None = None, method: str = "GET", body: Any = None, **headers
    ):
        """One request as it stands; `scope` sends that token along."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if scope is not None:
            sent["Authorization"] = f"Bearer {self.secrets[scope]}"
        if isinstance(body, dict):
            body = urlencode(body)
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        try:
            connection.request(method, path, body, sent)
            got = connection.getresponse()
            cookies = tuple(got.msg.get_all("set-cookie") or ())
            told = {name.lower(): value for name, value in got.getheaders()}
            return Answer(got.status, told, got.read().decode(), cookies)
        finally:
            connection.close()

    def log_in(self, secret: str) -> str:
        """A session: the Cookie header."""
        answer = self.ask("/login", method="POST", body={"token": secret})
        assert answer.status == 303, answer.text
        return answer.cookies[0].split(";")[0]

    def raw(self, sent: bytes) -> bytes:
        """Bytes in, bytes out, until the server closes; it may do so before it has read all."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(sent)
            parts = []
            with suppress(ConnectionResetError):
                while part := connection.recv(65536):
                    parts.append(part)
        return b"".join(parts)


@pytest.fixture(autouse=True)
def own_config(tmp_path, monkeypatch):
    """No test touches the tokens of whoever runs it."""
    monkeypatch.setenv("INFLUENCE_STORE_CONFIG", str(tmp_path / "config" / "config.toml"))


@pytest.fixture(scope="session")
def small(backend, tiny_llm, tmp_path_factory):
    """The URI of the store that the pages show."""
    folder = tmp_path_factory.mktemp("serve")
    uri, database = backend.new(folder / "store")
    place = ["--store", uri]
    named = ["--database", database] if database else []
    CliRunner().invoke(cli, [*place, "init", *named], catch_exceptions=False)
    fill_store(place, folder, tiny_llm)
    return uri


@pytest.fixture(scope="session")
def store(small):
    opened = Store.open(small, __version__)
    opened.database.refuse_writes()
    yield opened
    opened.database.close()


@pytest.fixture(scope="session")
def start(store):
    """`start(tokens_path, **gate)`: a server of its own; ended with the session."""
    with ExitStack() as stack:

        def begin(path, **settings: Any) -> Served:
            tokens, store_id = TokenFile(path), store.database.store_id()
            secrets = {}
            for scope in ("read", "texts"):
                secrets[scope], token = make(f"with-{scope}", scope, store_id, 1)
                tokens.add(token)
            own, of_run = make("this-run", "texts", store_id, 1)
            gate = Gate(store_id, tokens, of_run, **{"delay": 0.0, **settings})
            app = make_app(store, gate)
            listening = socket.create_server(("127.0.0.1", 0))
            server = uvicorn.Server(configured(guarded(app, ["influence.example"])))
            thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
            thread.start()

            def end() -> None:
                server.should_exit = True
                thread.join(30)
                listening.close()

            stack.callback(end)
            deadline = time.monotonic() + 30
            while not server.started and time.monotonic() < deadline:
                time.sleep(0.01)
            return Served(listening.getsockname()[1], app, gate, tokens, secrets, own)

        yield begin


@pytest.fixture(scope="session")
def served(start, tmp_path_factory):
    """The server that most tests ask; its tokens stay."""
    return start(tmp_path_factory.mktemp("tokens") / "serve-tokens.json")


@dataclass(frozen=True)
class Known:
    """Names that stand in the store: selections by objective, samples in and out of one."""

    selections: dict[str, str]
    inside: str
    outside: str
    hostile: str


@pytest.fixture(scope="session")
def known(served, store):
    selections = {}
    for row in all_selections(store.database):
        covers = row.objective == "facility-location"
        selections[f"{row.objective} on {row.kernel}" if covers else row.objective] = row.id
    chosen = selections["facility-location on cosine"]
    page = served.ask(f"/selections/{chosen}", "read").text
    inside = set(re.findall(r"/samples/([0-9a-f]{32})", page))
    rows = served.ask("/datasets/demo@1/samples?rows=200", "read").text
    everyone = set(re.findall(r"/samples/([0-9a-f]{32})", rows))
    found = served.ask("/datasets/demo@1/samples?text=window.harmed", "texts").text
    (hostile,) = set(re.findall(r"/samples/([0-9a-f]{32})", found))
    return Known(selections, min(inside), min(everyone - inside), hostile)


@pytest.fixture(scope="session")
def pages(known):
    """One address of every kind of page, by the path of its route."""
    chosen, other = known.selections["facility-location on cosine"], known.selections["k-center"]
    return {
        "/": "/",
        "/datasets": "/datasets",
        "/datasets/{ref}": "/datasets/demo@2",
        "/datasets/{ref}/samples": "/datasets/demo@1/samples?sort=inf_ifd&order=asc",
        "/samples/{name}": f"/samples/{known.hostile}",
        "/selections": "/selections",
        "/selections/{name}": f"/selections/{chosen}",
        "/selections/{name}/explain": f"/selections/{chosen}/explain?sample={known.inside}",
        "/selections/{name}/explain/{sample}": f"/selections/{chosen}/explain/{known.inside}",
        "/compare": f"/compare?a={chosen}&b={other}",
        "/estimators": "/estimators",
        "/runs": "/runs",
        "/{path:path}": "/nowhere/at/all",
    }


@pytest.fixture(scope="session")
def cookie_of():
    """The name of the session's cookie at a port."""

    def named(served: Served) -> str:
        class Request:
            scope = {"server": ("127.0.0.1", served.port)}  # noqa: RUF012

        return cookie_name(Request())  # type: ignore[arg-type]

    return named
