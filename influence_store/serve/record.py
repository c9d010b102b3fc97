"""Pages of what was learnt and what was run; and the page that is not there."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from influence_store.errors import NotFound
from influence_store.jobs.log import log
from influence_store.serve.asked import whole, words
from influence_store.serve.estimator_facts import cards
from influence_store.serve.page import page

router = APIRouter()
READ = ["GET", "HEAD"]
STATES = ("writing", "committed", "failed", "aborted")
PAGES = ("datasets", "selections", "compare", "estimators", "runs")
_RUNS, _MOST_RUNS = 50, 1000
#: Longer parameters are cut; the whole is in `log --json`.
_LONGEST = 4000


@router.api_route("/estimators", methods=READ)
def estimators(request: Request) -> Response:
    """The accuracy card of each."""
    return page(request, "estimators.html", {"cards": cards(request.app.state.store)})


@router.api_route("/runs", methods=READ)
def runs(request: Request) -> Response:
    """What was run, when, and what it cost."""
    limit = whole(request, "limit", _RUNS, most=_MOST_RUNS)
    asked = {name: words(request, name) for name in ("verb", "state", "dataset")}
    told = log(request.app.state.store, limit, **{k: v or None for k, v in asked.items()})
    facts = {
        "runs": [
            {**one, "asked": _asked(one["params"]), "about": _about(one["params"])}
            for one in told.runs
        ],
        "limit": limit,
        "more": min(_MOST_RUNS, limit * 4) if len(told.runs) == limit < _MOST_RUNS else None,
        "states": STATES,
        **asked,
    }
    return page(request, "runs.html", facts)


@router.api_route("/{path:path}", methods=READ)
def nothing(path: str) -> Response:
    """No other address is a page."""
    first = path.partition("/")[0][:64]
    raise NotFound.named("page", first, PAGES, hint="the pages are linked above")


def _about(params: dict[str, Any]) -> str:
    """What a run worked on, as far as its parameters name it: a dataset, a selection or files."""
    for name in ("dataset", "sources", "selection", "of"):
        if isinstance(found := params.get(name), str):
            return found
    paths = [str(one) for one in params.get("paths", [])]
    return ", ".join(one.rpartition("/")[2] for one in paths)


def _asked(params: dict[str, Any]) -> str:
    """Parameters of a run as JSON for people."""
    text = orjson.dumps(params, option=orjson.OPT_INDENT_2, default=str).decode()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
