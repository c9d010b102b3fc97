"""From facts to HTML: every text is escaped, and none can steer how it is shown."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from influence_store.counted import counted
from influence_store.output import plain
from influence_store.redact import redact
from influence_store.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request

#: A text longer than this is cut, and the page says so.
LONGEST_TEXT = 200_000
_HERE = Path(__file__).parent
STYLE = _HERE / "static" / "style.css"


def page(
    request: Request,
    template: str,
    facts: Mapping[str, Any],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """One page; `facts` are the variables of the template."""
    reader = getattr(request.state, "reader", None)
    told = {"reader": reader, "path": request.url.path, "tool_version": __version__}
    store = request.app.state.store.uri if reader else None
    html = templates().get_template(template).render(**told, store=store, **facts)
    return HTMLResponse(html, status, dict(headers or {}))


@cache
def templates() -> Environment:
    """The templates, with the filters below."""
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": number,
        "count": count,
        "counted": counted,
        "share": share,
        "when": when,
        "machine_time": machine_time,
        "seconds": seconds,
        "shown": shown,
        "line": line,
        "short": short,
        "part": part,
        "file_name": file_name,
        "breakable": breakable,
        "redact": redact,
    }
    made.globals["link"] = link
    return made


def number(value: Any, digits: int = 4) -> str:
    """A measured value; – for none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.{digits}g}".replace("-", "−")


def count(value: int) -> str:
    """With commas."""
    return f"{value:,}"


def share(value: float | None) -> str:
    """0..1 in per cent."""
    return "–" if value is None or math.isnan(value) else f"{value:.1%}"


def when(at: float) -> str:
    """Seconds since 1970, for people."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def machine_time(at: float) -> str:
    """The same for <time datetime>."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(value: float) -> str:
    """How long something took."""
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:,.0f} min" if value < 7200 else f"{value / 3600:,.1f} h"


def shown(text: str) -> str:
    """`text` with its lines, and everything that cannot be seen as its escape."""
    kept = text[:LONGEST_TEXT].replace("\r\n", "\n").expandtabs(4)
    return "\n".join(plain(one) for one in kept.split("\n"))


def line(text: str, length: int = 120) -> str:
    """`text` on one line, cut."""
    flat = plain(" ".join(text[: 4 * length].split()))
    return flat if len(flat) <= length else f"{flat[: length - 1]}…"


def short(name: str, length: int = 12) -> str:
    """The beginning of an id."""
    return name[:length]


def part(path: str, length: int = 40) -> str:
    """The end of a file's name, which is what tells it from others."""
    flat = plain(path)
    return flat if len(flat) <= length else f"…{flat[1 - length :]}"


def file_name(path: str) -> str:
    """The last part of a path; the page that lists sources has the whole."""
    return part(path.rstrip("/").rpartition("/")[2] or path, 28)


def breakable(name: str) -> Markup:
    """A column's name that may go on in the next line behind a `_`."""
    return Markup("_<wbr>").join(escape(one) for one in name.split("_"))


def link(*parts: str, **query: Any) -> str:
    """An address of ours: every part and value quoted, values that are None or empty left out."""
    asked = {name: value for name, value in query.items() if value not in (None, "")}
    path = "/" + "/".join(quote(one, safe="@") for one in parts)
    return f"{path}?{urlencode(asked)}" if asked else path
