"""What to tell about a statement that failed: the nearest names, and the command that fills one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from influence_store.errors import NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from influence_store.query.engine import EngineError
    from influence_store.query.views import View

#: How columns of each kind come to be; a dataset view has them once any row of the store has.
_FILLED_BY = {
    "inf": "inf_ columns are measured: influence-store label DATASET --method METHOD --rows all",
    "est": "est_ columns are estimated: influence-store train DATASET, "
    "then influence-store fill DATASET",
    "emb": "emb_ columns are embeddings: influence-store embed DATASET --embedder EMBEDDER",
    "vec": "vec_ columns are vectors of a bilinear method: influence-store label DATASET "
    "--method METHOD",
}
_FILLED = "columns come from: influence-store label DATASET, or influence-store fill DATASET"


def explained(error: EngineError, offered: Mapping[str, View], words: Iterable[str]) -> Exception:
    """NotFound for an unknown view or column, else UsageError; `words` are those of the SQL."""
    text = " ".join(str(error).split("\n\n")[0].split())[:300]
    if error.name == "NotOneSelect":
        return UsageError(
            "query takes exactly one SELECT; the store is read-only here",
            hint='for example: influence-store query "select count(*) from samples"',
        )
    if view := re.search(r"Table with name (.+?) does not exist", text):
        if view.group(1).startswith("selected:"):
            hint = "e.g. selected('3f2a'), or selected($id) with --param id=3f2a"
            return UsageError("selected(…) takes an id in quotes, or a parameter", hint=hint)
        hint = "see: influence-store status"
        return NotFound.named("view", view.group(1), [*offered], hint=hint)
    if column := re.search(r'column "([^"]+)" not found|have a column named "([^"]+)"', text):
        name = column.group(1) or column.group(2)
        views = [offered[one] for one in offered if one in words] or [*offered.values()]
        known = {one for view in views for one in (*view.columns, *view.on_request)}
        hint = _FILLED_BY.get(name.lower().partition("_")[0], _FILLED)
        return NotFound.named("column", name, known, hint=hint)
    told = "the SQL cannot be read" if error.name == "ParserException" else "the query failed"
    return UsageError(f"{told}: {text}")
