"""Pages of datasets and samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import Response

from influence_store.serve.access import AsReader
from influence_store.serve.asked import LONGEST_TEXT, whole, words
from influence_store.serve.dataset_facts import MOST_SOURCES, columns_of, overview, sources_of
from influence_store.serve.page import page
from influence_store.serve.sample_facts import LENGTHS, MOST_ROWS, ROWS, Wish, rows_of, sample_card
from influence_store.store.versions import history

if TYPE_CHECKING:
    from influence_store.store.store import Store

router = APIRouter()
READ = ["GET", "HEAD"]
_MOST_PAGES = 1_000_000
#: A file's name on a disk is not longer, and a longer one is not asked for.
_LONGEST_SOURCE = 1024


@router.api_route("/", methods=READ)
def datasets(request: Request) -> Response:
    """Every dataset, its newest version and what that has."""
    return page(request, "datasets.html", overview(request.app.state.store))


@router.api_route("/datasets", methods=READ)
def also_datasets(request: Request) -> Response:
    """The same, where people look for it."""
    return datasets(request)


@router.api_route("/datasets/{ref}", methods=READ)
def dataset(request: Request, ref: str) -> Response:
    """One version: its sources, its columns of influence, and the other versions."""
    store: Store = request.app.state.store
    version = store.version(ref)
    sources = sources_of(store, version)
    facts = {
        "version": version,
        "n_rows": len(version.bits),
        "history": history(store.database, version.dataset_id),
        "sources": sources[:MOST_SOURCES],
        "n_sources": len(sources),
        "columns": columns_of(store, version),
    }
    return page(request, "dataset.html", facts)


@router.api_route("/datasets/{ref}/samples", methods=READ)
def samples(request: Request, ref: str, who: AsReader) -> Response:
    """A page of the rows of a version, by a column of influence, a source or a text."""
    store: Store = request.app.state.store
    version = store.version(ref)
    wish = Wish(
        sort=words(request, "sort"),
        ascending=words(request, "order") == "asc",
        source=request.query_params.get("source", "")[:_LONGEST_SOURCE],
        text=words(request, "text"),
        page=whole(request, "page", 1, most=_MOST_PAGES),
        rows=whole(request, "rows", ROWS, most=MOST_ROWS),
    )
    if wish.text:
        # Asking whether a text is there is a way of reading it.
        who.must_see_texts("searching texts")
    facts = {
        "version": version,
        "wish": wish,
        "found": rows_of(store, version, wish, texts=who.texts),
        "sources": sources_of(store, version)[:MOST_SOURCES],
        "columns": columns_of(store, version),
        "lengths": LENGTHS,
        "longest_text": LONGEST_TEXT,
    }
    return page(request, "samples.html", facts)


@router.api_route("/samples/{name}", methods=READ)
def sample(request: Request, name: str, who: AsReader) -> Response:
    """Everything the store knows of one sample."""
    card = sample_card(request.app.state.store, name, texts=who.texts)
    return page(request, "sample.html", {"card": card})
