"""The application: routes, errors as pages, and the guard around all of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio.to_thread
from fastapi import Depends, FastAPI

from influence_store.serve import browse, choices, login, record
from influence_store.serve.access import reader
from influence_store.serve.failures import add_failures
from influence_store.serve.guard import Guard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from influence_store.serve.access import Gate
    from influence_store.store.store import Store

#: Pages that are made at the same time; the others wait for their turn.
THREADS = 4
#: Names of this machine that no page of somebody else can take.
LOCAL_NAMES = ("localhost",)


def make_app(store: Store, gate: Gate) -> FastAPI:
    """Every route; all but the login and the stylesheet need a token."""
    app = FastAPI(
        title="influence-store",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=_few_threads,
    )
    app.state.store, app.state.gate = store, gate
    app.include_router(login.router)
    for pages in (browse.router, choices.router, record.router):
        app.include_router(pages, dependencies=[Depends(reader)])
    add_failures(app)
    return app


def guarded(app: FastAPI, hosts: Iterable[str] = ()) -> Guard:
    """What a server runs; `hosts` are further names that it may be called by."""
    return Guard(app, [*LOCAL_NAMES, *hosts])


@asynccontextmanager
async def _few_threads(_app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield
