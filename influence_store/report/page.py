"""How do facts become one file? Jinja2 escapes every text; style, script and data are inside.

The page asks for nothing: its policy forbids every address, and allows exactly the scripts and the
style that stand in it, by their hash. Vega runs without `eval` by its own interpreter of
expressions.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import orjson

from influence_store.counted import agree
from influence_store.extras import require
from influence_store.report import texts, words
from influence_store.report.charts import charts
from influence_store.report.facts import GRID, Map
from influence_store.report.publish import MARK
from influence_store.report.values import Missing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from influence_store.report.facts import ReportFacts

_EXTRA = "report"
#: The bundle is minified Vega, Vega-Lite and Vega-Embed, under one name.
_SNIPPET = "window.vegaEmbed = vegaEmbed;"


def page(facts: ReportFacts) -> bytes:
    """The whole file. The same facts give the same bytes.

    MissingExtra without altair, Jinja2 and vl-convert.
    """
    jinja = require("jinja2", extra=_EXTRA)
    drawn = {one.name: one for one in charts(facts)}
    style, script, bundle = _asset("style.css"), _asset("page.js"), vega()
    environment = jinja.Environment(
        autoescape=True, undefined=jinja.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        visible=texts.visible,
        number=texts.number,
        amount=texts.amount,
        share=texts.share,
        seconds=texts.seconds,
        moment=texts.moment,
        means=words.means,
    )
    environment.tests["missing"] = lambda section: isinstance(section, Missing)
    told = environment.from_string(_asset("page.html")).render(
        facts=facts,
        words=words,
        agree=agree,
        charts=drawn,
        grid=GRID,
        verdicts=_verdicts(facts),
        policy=_policy((bundle, script), style),
        style=_raw(style),
        script=_raw(script),
        vega=_raw(bundle),
        data=_raw(_data(drawn.values(), facts.map)),
    )
    return MARK + str(told).encode()


@cache
def vega() -> str:
    """The code that draws, from the wheel of vl-convert; MissingExtra without it."""
    bundle: str = require("vl_convert", extra=_EXTRA).javascript_bundle(_SNIPPET)
    # Nothing in it may end the element that it stands in.
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _asset(name: str) -> str:
    return files("influence_store.report").joinpath(name).read_text("utf-8")


def _raw(text: str) -> Any:
    """A text of ours that Jinja leaves as it is."""
    return require("markupsafe", extra=_EXTRA).Markup(text)


def _data(drawn: Any, told: Map | Missing) -> str:
    """What the script reads: JSON in which no `<` can end its element."""
    found = {
        "charts": {one.name: one.spec for one in drawn},
        "map": None if isinstance(told, Missing) else _map(told),
    }
    json = orjson.dumps(found, option=orjson.OPT_SORT_KEYS).decode()
    for sign in "<>&\u2028\u2029":
        json = json.replace(sign, f"\\u{ord(sign):04x}")
    return json


def _map(told: Map) -> dict[str, Sequence[int]]:
    return {"x": told.x, "y": told.y, "tenth": told.tenth, "selected": told.selected}


def _policy(scripts: Sequence[str], style: str) -> str:
    """Nothing from anywhere; these scripts, this style."""
    allowed = " ".join(map(_hashed, scripts))
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hashed(style)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _verdicts(facts: ReportFacts) -> Mapping[str, str]:
    """By name of an estimated column: what its card says."""
    if isinstance(facts.influence, Missing):
        return {}
    return {one.name: one.verdict for one in facts.influence.columns if one.verdict}
