"""Pages of selections: one, why a sample is in it or not, two side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from influence_store.errors import UsageError
from influence_store.jobs.compare_selections import compare_selections
from influence_store.jobs.explain import explain
from influence_store.serve.access import AsReader
from influence_store.serve.asked import whole, words
from influence_store.serve.page import link, page
from influence_store.serve.selection_facts import selection_lines, selection_page

if TYPE_CHECKING:
    from influence_store.store.store import Store

router = APIRouter()
READ = ["GET", "HEAD"]
_MOST_PAGES = 1_000_000


@router.api_route("/selections", methods=READ)
def selections(request: Request) -> Response:
    """All of them, newest first."""
    return page(request, "selections.html", {"lines": selection_lines(request.app.state.store)})


@router.api_route("/selections/{name}", methods=READ)
def selection(request: Request, name: str) -> Response:
    """How it was made, what cheap rivals reach, its curve and its picks."""
    number = whole(request, "page", 1, most=_MOST_PAGES)
    facts = {"of": selection_page(request.app.state.store, name, number), "number": number}
    return page(request, "selection.html", facts)


@router.api_route("/selections/{name}/explain", methods=READ)
def which(request: Request, name: str) -> Response:
    """To the page of the sample that the form names."""
    sample = words(request, "sample")
    if not sample:
        raise UsageError("no sample was named", hint=f"influence-store explain {name} SAMPLE")
    return RedirectResponse(link("selections", name, "explain", sample), 303)


@router.api_route("/selections/{name}/explain/{sample}", methods=READ)
def why(request: Request, name: str, sample: str) -> Response:
    """Why a sample is in, or why it is not."""
    report = explain(request.app.state.store, name, [sample], top=5)
    return page(request, "explain.html", {"report": report, "one": report.samples[0]})


@router.api_route("/compare", methods=READ)
def compare(request: Request, who: AsReader) -> Response:
    """Two selections side by side; the form where they are not named."""
    store: Store = request.app.state.store
    first, second = words(request, "a"), words(request, "b")
    told = compare_selections(store, first, second) if first and second else None
    facts = {"lines": selection_lines(store), "a": first, "b": second, "told": told}
    return page(request, "compare.html", facts)
