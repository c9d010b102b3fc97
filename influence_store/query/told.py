"""What to tell about a statement that failed: the nearest names, and the command that fills one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from influence_store.counted import agree
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


#: A name that SQL would take apart: not in quotes, and with the @ of a version.
_BARE_VERSION = re.compile(r"""(?<!["'\w-])([a-z0-9][\w-]*@\w+)(?!["'\w])""", re.IGNORECASE)


def explained(
    error: EngineError, offered: Mapping[str, View], words: Iterable[str], sql: str
) -> Exception:
    """NotFound for an unknown view or column, else UsageError; `words` are those of `sql`."""
    text = " ".join(str(error).split("\n\n")[0].split())
    text = text.partition(" You might need to add explicit type casts.")[0][:300]
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
    if error.name == "PermissionException":
        return UsageError(
            "a statement reads the store's views only, no files",
            hint="see the views: influence-store query 'show tables'",
        )
    if error.name == "ParserException":
        return UsageError(f"the SQL cannot be read: {text}", hint=_quoting(offered, sql))
    if unbound := re.search(r"not provided for the following parameters: (.+)", text):
        names = unbound.group(1).split(", ")
        ways = " ".join(f"--param {name}=VALUE" for name in names)
        have = agree(len(names), "has", "have")
        told = f"${', $'.join(names)} of the statement {have} no value"
        return UsageError(told, hint=f"add: {ways}, or in Python {names[0]}=VALUE")
    return UsageError(f"the query failed: {text}")


def _quoting(offered: Mapping[str, View], sql: str) -> str:
    """What to say where a view is named without the quotes that its name needs; else nothing."""
    bare = [one.group(1) for one in _BARE_VERSION.finditer(sql)]
    bare += [
        name
        for name in offered
        if "-" in name and re.search(rf'(?<!["\w-]){re.escape(name)}(?!["\w@-])', sql)
    ]
    if not bare:
        return ""
    return f"""a name with @ or - goes in double quotes: query 'select … from "{bare[0]}"'"""
