"""Which pictures does a report hold? Facts in, Vega-Lite out, one function per picture.

Every colour is a CSS variable, so light, dark and paper need no second drawing. No difference is
told by colour alone: marks differ in shape or carry their number. `told` is what the picture says
to those who do not see it; the table below it has all of its numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from influence_store.extras import require
from influence_store.report.influence_facts import Influence, Overlap
from influence_store.report.selection_facts import SelectionFacts
from influence_store.report.texts import amount, number, visible
from influence_store.report.values import Missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from influence_store.report.facts import Cost, Histogram, Lengths, ReportFacts, VersionRow
    from influence_store.report.influence_facts import Card, SourceSpread

INK, SOFT, LINE, ACCENT = "var(--ink)", "var(--soft)", "var(--line)", "var(--accent)"
PAPER = "var(--paper)"
#: A matrix with more columns cannot be read; its table can.
MOST_COLUMNS = 12
_ROW = 30
_FEWEST_CLASSES = 8

_CONFIG = {
    "background": None,
    "aria": False,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": SOFT,
        "titleColor": SOFT,
        "gridColor": LINE,
        "domain": False,
        "tickColor": LINE,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelLimit": 150,
        "labelOverlap": "greedy",
    },
    "text": {"color": INK, "fontSize": 12},
}


@dataclass(frozen=True)
class Chart:
    """A picture with the name of its place on the page, and what it says in words."""

    name: str
    spec: dict[str, Any]
    told: str


def charts(facts: ReportFacts) -> list[Chart]:
    """All pictures but the map, in the order of the page. MissingExtra without altair."""
    return [
        *(_lengths(one) for one in facts.contents.lengths),
        *(_history(facts.contents.versions) if len(facts.contents.versions) > 1 else ()),
        *(_influence(facts.influence) if isinstance(facts.influence, Influence) else ()),
        *([] if isinstance(facts.accuracy, Missing) else map(_card, facts.accuracy)),
        *([] if isinstance(facts.cost, Missing) else _cost(facts.cost)),
        *(_selection(facts.selection) if isinstance(facts.selection, SelectionFacts) else ()),
        *(_overlap(facts.overlap) if isinstance(facts.overlap, Overlap) else ()),
    ]


def _altair() -> Any:
    return require("altair", extra="report")


def _chart(rows: Iterable[Mapping[str, Any]]) -> Any:
    alt = _altair()
    return alt.Chart(alt.Data(values=[dict(row) for row in rows]))


def _finished(name: str, chart: Any, told: str, *, height: int) -> Chart:
    alt = _altair()
    sized = chart.properties(
        width="container", height=height, autosize=alt.AutoSizeParams(type="fit-x")
    )
    return Chart(name, {**sized.to_dict(), "config": _CONFIG}, told)


def _names(rows: Iterable[Mapping[str, Any]], field: str = "name") -> Any:
    """A line per name, in the order of `rows`: said aloud, for a filtered layer has an own one."""
    alt = _altair()
    shown = alt.Axis(title=None, grid=False, ticks=False, labelColor=INK, labelPadding=8)
    order = list(dict.fromkeys(row[field] for row in rows))
    return alt.Y(f"{field}:N", sort=order, axis=shown)


def _values(field: str, title: str, **scale: Any) -> Any:
    alt = _altair()
    # Room for marks at the ends; where bars begin at 0 there is none needed.
    sized = scale if scale.get("zero") else {**scale, "padding": 12}
    return alt.X(
        f"{field}:Q", title=title, axis=alt.Axis(tickCount=5), scale=alt.Scale(nice=True, **sized)
    )


# -- what is in it -------------------------------------------------------------------------------


def _lengths(one: Lengths) -> Chart:
    alt = _altair()
    rows = [
        {"chars": _between(low, high), "rows": count, "label": amount(count) if count else ""}
        for low, high, count in _classes(one.histogram)
    ]
    base = _chart(rows).encode(
        alt.X(
            "chars:N",
            sort=None,
            title=f"characters of the {one.part}",
            axis=alt.Axis(labelAngle=0, grid=False, ticks=False),
        ),
        alt.Y("rows:Q", axis=None),
    )
    bars = base.mark_bar(color=ACCENT, cornerRadiusEnd=2)
    labels = base.mark_text(baseline="bottom", dy=-3, color=SOFT).encode(text="label:N")
    told = (
        f"Bars: rows by characters of the {one.part}, in classes that double. Half of them have "
        f"{number(one.spread.median)} characters or fewer."
    )
    return _finished(f"lengths-{one.part}", bars + labels, told, height=150)


def _classes(found: Histogram) -> list[tuple[float, float, int]]:
    """From, to below, and rows of each class, without empty ones at the ends, but at least eight.

    Two bars across a page say less than two among empty ones.
    """
    edges, counts = found.edges, found.counts
    classes = list(zip(edges[:-1], edges[1:], counts, strict=True))
    first = next((k for k, (*_, count) in enumerate(classes) if count), 0)
    first = max(0, min(first, len(classes) - _FEWEST_CLASSES))
    while len(classes) - first < _FEWEST_CLASSES:
        classes.append((classes[-1][1], 2 * classes[-1][1], 0))
    return classes[first:]


def _between(low: float, high: float) -> str:
    """The whole numbers of a class that doubles."""
    return f"{low:,.0f}" if high - low <= 1 else f"{low:,.0f}–{high - 1:,.0f}"


def _history(versions: Sequence[VersionRow]) -> Iterator[Chart]:
    rows = [
        {
            "name": f"@{one.number}",
            "rows": one.rows,
            "label": f"{one.rows:,} (+{one.new:,} −{one.removed:,})",
        }
        for one in versions[-30:]
    ]
    base = _chart(rows).encode(_names(rows), _values("rows", "rows", zero=True))
    bars = base.mark_bar(color=ACCENT, height=10, cornerRadiusEnd=2)
    labels = base.mark_text(align="left", dx=6, color=SOFT).encode(text="label:N")
    told = f"Bars: rows of each version; the newest has {versions[-1].rows:,}."
    yield _finished("history", bars + labels, told, height=_ROW * len(rows))


# -- influence -----------------------------------------------------------------------------------


def _influence(influence: Influence) -> Iterator[Chart]:
    for k, one in enumerate(influence.columns):
        if one.by_source:
            yield _spreads(f"influence-{k}", one.by_source, f"{one.name}, by source")
    for k, pair in enumerate(influence.pairs):
        if pair.by_source:
            yield _spreads(f"pairs-{k}", pair.by_source, f"{pair.output} of a pair, by source")


def _spreads(name: str, by_source: Sequence[SourceSpread], title: str) -> Chart:
    """A line from the 5th to the 95th percentile, a box around half of the rows, the median."""
    rows = [
        {
            "name": visible(one.source),
            "p5": one.spread.p5,
            "p25": one.spread.p25,
            "median": one.spread.median,
            "p75": one.spread.p75,
            "p95": one.spread.p95,
        }
        for one in by_source
    ]
    base = _chart(rows).encode(_names(rows))
    x = _values("p5", title, zero=False)
    line = base.mark_rule(color=SOFT, strokeWidth=1.5).encode(x, x2="p95:Q")
    box = base.mark_bar(height=10, color=PAPER, stroke=SOFT, strokeWidth=1.5)
    box = box.encode(_values("p25", title, zero=False), x2="p75:Q")
    median = base.mark_tick(color=ACCENT, thickness=4, height=16, opacity=1)
    median = median.encode(_values("median", title, zero=False))
    told = (
        f"{title}: for each source a line from the 5th to the 95th percentile, a box around the "
        "middle half, a thick tick at the median."
    )
    return _finished(name, line + box + median, told, height=_ROW * len(rows))


# -- accuracy ------------------------------------------------------------------------------------


def _card(card: Card) -> Chart:
    rows = [
        {
            "name": one.name + (" (kept)" if one.name == card.network else ""),
            "rank": one.rank,
            "kept": one.name == card.network,
            "low": one.interval.low if one.interval else None,
            "high": one.interval.high if one.interval else None,
            "label": number(one.rank),
        }
        for one in card.rivals
        if one.rank is not None
    ]
    base = _chart(rows).encode(_names(rows))
    x = _values("rank", "rank correlation on what none had seen", zero=True)
    line = base.mark_rule(color=ACCENT, strokeWidth=2).encode(
        _values("low", "rank correlation on what none had seen", zero=True), x2="high:Q"
    )
    line = line.transform_filter("isValid(datum.low)")
    # The labels stand above the marks, where no interval crosses them.
    labels = base.mark_text(dy=-11, fontSize=11, color=SOFT).encode(x, text="label:N")
    chart = line + _points(base, x) + labels
    told = (
        f"Dots: rank correlation of {card.estimator} ({card.network}, a filled diamond with its "
        f"interval) and of its rivals (circles). Best: {rows[0]['name']}, {rows[0]['label']}."
        if rows
        else f"No rival of {card.estimator} could be ranked."
    )
    return _finished(f"card-{card.fingerprint}", chart, told, height=36 * max(1, len(rows)))


def _points(base: Any, x: Any) -> Any:
    """A filled diamond for what was kept, circles for its rivals."""
    others = base.mark_point(shape="circle", size=70, color=SOFT, fill=PAPER, opacity=1)
    kept = base.mark_point(shape="diamond", size=160, color=ACCENT, fill=ACCENT, opacity=1)
    return others.encode(x).transform_filter("!datum.kept") + kept.encode(x).transform_filter(
        "datum.kept"
    )


# -- cost ----------------------------------------------------------------------------------------


def _cost(cost: Cost) -> Iterator[Chart]:
    """On a logarithmic scale: what is saved is orders of magnitude, or nothing."""
    rows = [
        {"name": f"{one.method}: {what}", "cells": cells, "label": f"{cells:,} {one.unit}"}
        for one in cost.everything
        for what, cells in (("labelled", one.labelled), ("all", one.cells))
    ]
    if not rows:
        return
    alt = _altair()
    x = alt.X(
        "cells:Q",
        title="rows or pairs, each step ten times more",
        scale=alt.Scale(type="log", domainMin=1),
        axis=alt.Axis(tickCount=4, format="~s", grid=False),
    )
    base = _chart(rows).encode(_names(rows), x)
    bars = base.mark_bar(color=ACCENT, height=10, cornerRadiusEnd=2).encode(x2=alt.datum(1))
    labels = base.mark_text(align="right", dy=-11, fontSize=11, color=SOFT).encode(text="label:N")
    told = "Bars: labelled rows or pairs of each method beside all there are, logarithmic."
    yield _finished("cost", bars + labels, told, height=36 * len(rows))


# -- selection -----------------------------------------------------------------------------------


def _selection(told: SelectionFacts) -> Iterator[Chart]:
    if told.curve:
        yield _curve(told)
    if told.value is not None and told.random is not None:
        yield _rivals(told)


def _curve(told: SelectionFacts) -> Chart:
    alt = _altair()
    rows = [{"picks": one.picks, "share": one.share} for one in told.curve]
    x = _values("picks", "samples, in the order of their choice", zero=True)
    y = alt.Y("share:Q", title="share of the gain", axis=alt.Axis(format="%", tickCount=5))
    line = _chart(rows).mark_line(color=ACCENT, strokeWidth=2).encode(x, y)
    said = f"The first {rows[0]['picks']:,} samples hold {rows[0]['share']:.0%} of the gain"
    if told.knee is None:
        return _finished("curve", line, f"Line: {said}; the curve has no knee.", height=220)
    text = f"knee: {told.knee.picks:,} hold {told.knee.share:.0%}"
    at = {"picks": told.knee.picks, "share": told.knee.share, "label": text}
    knee = _chart([at]).encode(x, y)
    mark = knee.mark_point(shape="diamond", size=160, color=ACCENT, fill=ACCENT, opacity=1)
    label = knee.mark_text(align="left", dx=10, dy=14).encode(text="label:N")
    return _finished("curve", line + mark + label, f"Line: {said}; {text}.", height=220)


def _rivals(told: SelectionFacts) -> Chart:
    assert told.random is not None
    random = f"random ×{told.random.draws}"
    sets = [("this selection", told.value), *((one.name, one.value) for one in told.references)]
    rows: list[dict[str, Any]] = [
        {"name": name, "value": value, "kept": name == "this selection", "label": number(value)}
        for name, value in sets
    ]
    rows.append(
        {
            "name": random,
            "value": told.random.mean,
            "kept": False,
            "low": told.random.low,
            "high": told.random.high,
            "label": number(told.random.mean),
        }
    )
    rows.sort(key=lambda row: -row["value"])
    base = _chart(rows).encode(_names(rows))
    x = _values("value", told.measure, zero=False)
    line = base.mark_rule(color=SOFT, strokeWidth=2).encode(
        _values("low", told.measure, zero=False), x2="high:Q"
    )
    line = line.transform_filter("isValid(datum.low)")
    labels = base.mark_text(dy=-11, fontSize=11, color=SOFT).encode(x, text="label:N")
    said = (
        f"Dots: {told.measure} of the selection (a filled diamond), {number(told.value)}, and of "
        f"its rivals (circles); random sets with a line from their lowest to their highest."
    )
    return _finished("rivals", line + _points(base, x) + labels, said, height=36 * len(rows))


# -- overlap -------------------------------------------------------------------------------------


def _overlap(overlap: Overlap) -> Iterator[Chart]:
    if len(overlap.columns) > MOST_COLUMNS:
        return
    for name, field, told in (
        ("overlap-rank", "rank", "Spearman's rank correlation"),
        ("overlap-top", "top", "shared part of the highest tenth"),
    ):
        values = {(one.a, one.b): getattr(one, field) for one in overlap.agreements}
        yield _matrix(name, overlap.columns, values, told)


def _matrix(
    name: str, columns: Sequence[str], values: Mapping[tuple[str, str], float | None], told: str
) -> Chart:
    alt = _altair()
    rows = [
        {"a": a, "b": b, "value": value, "size": abs(value or 0.0), "label": number(value)}
        for a in columns
        for b in columns
        if a != b
        for value in [values.get((a, b), values.get((b, a)))]
    ]
    top = alt.Axis(title=None, orient="top", labelAngle=-30, grid=False, ticks=False)
    base = _chart(rows).encode(alt.X("b:N", sort=list(columns), axis=top), _names(rows, "a"))
    size = alt.Opacity("size:Q", scale=alt.Scale(domain=[0, 1], range=[0.0, 0.4]), legend=None)
    cells = base.mark_rect(color=ACCENT).encode(opacity=size)
    text = base.mark_text().encode(text="label:N")
    said = f"Matrix of the influence columns: {told} of every two, as a number in its cell."
    return _finished(name, cells + text, said, height=_ROW * len(columns) + 40)
