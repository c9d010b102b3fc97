"""Errors as pages: what was found, and the next command to type; never a traceback."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote

from fastapi.responses import RedirectResponse, Response

from influence_store import errors
from influence_store.serve.access import Gate, LoginNeeded
from influence_store.serve.page import page

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

#: The first that fits decides.
_STATUS: tuple[tuple[type[errors.InfluenceStoreError], int, str], ...] = (
    (errors.NotFound, 404, "Not found"),
    (errors.UsageError, 400, "That cannot be asked"),
    (errors.Forbidden, 403, "Not allowed"),
    (errors.MissingExtra, 501, "Something is not installed"),
    (errors.Incompatible, 409, "Two things do not fit"),
    (errors.Busy, 503, "Busy"),
    (errors.StorageError, 503, "The store cannot be reached"),
    (errors.IntegrityError, 500, "The store is damaged"),
)


def add_failures(app: FastAPI) -> None:
    """Answer every exception of `app` with a page."""
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    app.add_exception_handler(LoginNeeded, _login_needed)
    app.add_exception_handler(errors.InfluenceStoreError, _told)
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _bug)


async def _login_needed(request: Request, error: Exception) -> Response:
    """A browser is sent to the login; a program is told."""
    assert isinstance(error, LoginNeeded)
    if not error.wrong and request.method in ("GET", "HEAD"):
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        there = f"/login?next={quote(asked, safe='')}" if asked != "/" else "/login"
        return RedirectResponse(there, 303)
    return await wrong_token(request)


async def wrong_token(request: Request) -> Response:
    """After a pause; 429 where there were too many."""
    gate: Gate = request.app.state.gate
    await asyncio.sleep(gate.delay)
    if gate.too_many_wrong():
        facts = {"title": "Too many wrong tokens", "message": "Wait a minute.", "hint": ""}
        return page(request, "error.html", facts, status=429, headers={"Retry-After": "60"})
    facts = {
        "title": "This token opens nothing here",
        "message": "It is misspelt, has expired, was revoked, or was made for another store.",
        "hint": "influence-store token new --name NAME",
    }
    headers = {"WWW-Authenticate": 'Bearer realm="influence-store"'}
    return page(request, "error.html", facts, status=401, headers=headers)


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.InfluenceStoreError)
    fitting = (one for one in _STATUS if isinstance(error, one[0]))
    _, status, title = next(fitting, (type(error), 500, "That failed"))
    message = str(error).removesuffix(f"\n  {error.hint}") if error.hint else str(error)
    facts = {"title": title, "message": message, "hint": error.hint}
    return page(request, "error.html", facts, status=status)


async def _unreadable(request: Request, _error: Exception) -> Response:
    facts = {
        "title": "That cannot be asked",
        "message": "A part of the address is not of the kind that this page takes.",
        "hint": "",
    }
    return page(request, "error.html", facts, status=400)


async def _http(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 400)
    title = {404: "Not found", 405: "Only looking is possible here"}.get(status, "Refused")
    facts = {"title": title, "message": f"There is no such page (HTTP {status}).", "hint": ""}
    return page(request, "error.html", facts, status=status)


async def _bug(request: Request, _error: Exception) -> Response:
    incident = request.scope.get("state", {}).get("incident", "")
    facts = {
        "title": "This is a bug of ours",
        "message": f"What went wrong is in the terminal of the server: incident {incident}.",
        "hint": "",
    }
    return page(request, "error.html", facts, status=500)
