"""Login and logout: a token becomes a session; the two pages that need none, and the stylesheet.

Nothing here writes to a store, so a forged request could at most log somebody out, and the cookie
does not travel with one (SameSite=Strict).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from influence_store.serve.access import LONGEST_SECRET, Gate, cookie_name
from influence_store.serve.failures import wrong_token
from influence_store.serve.guard import LONGEST_BODY
from influence_store.serve.page import STYLE, page

if TYPE_CHECKING:
    from influence_store.serve.tokens import Token

router = APIRouter()
READ = ["GET", "HEAD"]


@router.api_route("/style.css", methods=READ)
async def style() -> Response:
    """The one stylesheet."""
    return Response(_stylesheet(), media_type="text/css")


@router.api_route("/login", methods=READ)
async def ask(request: Request) -> Response:
    """The form; with the token of this run in the address, at once a session."""
    there = _local(request.query_params.get("next", "/"))
    secret = request.query_params.get("token")
    if secret is None:
        return page(request, "login.html", {"next": there})
    gate: Gate = request.app.state.gate
    token = gate.own_token(secret)
    return await wrong_token(request) if token is None else _begin(request, token, there)


@router.post("/login")
async def begin(request: Request) -> Response:
    """Take the form."""
    form = await _form(request)
    gate: Gate = request.app.state.gate
    secret = form.get("token", "").strip()[: LONGEST_SECRET + 1]
    token = gate.token(secret)
    there = _local(form.get("next", "/"))
    return await wrong_token(request) if token is None else _begin(request, token, there)


@router.post("/logout")
async def end(request: Request) -> Response:
    """Forget the session."""
    gate: Gate = request.app.state.gate
    name = cookie_name(request)
    gate.end(request.cookies.get(name, "")[:LONGEST_SECRET])
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(name, httponly=True, samesite="strict")
    return answer


@cache
def _stylesheet() -> bytes:
    return STYLE.read_bytes()


def _begin(request: Request, token: Token, there: str) -> Response:
    """To the page that was asked for; the address that held a token is left behind."""
    gate: Gate = request.app.state.gate
    key, lasts = gate.begin(token)
    answer = RedirectResponse(there, 303)
    answer.set_cookie(
        cookie_name(request),
        key,
        max_age=lasts,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


async def _form(request: Request) -> dict[str, str]:
    """The fields of a small form; whatever is too long ends where reading ends."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_BODY:
            break
    told = parse_qs(body[:LONGEST_BODY].decode("latin-1"), max_num_fields=None)
    return {name: values[0] for name, values in told.items()}


def _local(address: str) -> str:
    """`address` if it is a page of ours, else the first page: a login sends nobody elsewhere."""
    plain_path = address.startswith("/") and not address.startswith(("//", "/\\"))
    return address if plain_path and address.isprintable() and address.isascii() else "/"
