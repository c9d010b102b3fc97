"""`report`: what a store knows of one dataset version, as one HTML file that needs no network.

`report_facts` gathers everything; the page and `--json` are two views of what it returns. Nothing
is computed by a model and nothing is written to the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from influence_store.jobs.report_accuracy import accuracy
from influence_store.jobs.report_contents import contents
from influence_store.jobs.report_cost import cost
from influence_store.jobs.report_examples import examples
from influence_store.jobs.report_influence import chosen_column, columns_of, influence, overlap
from influence_store.jobs.report_map import embedding_map
from influence_store.jobs.report_rows import Rows
from influence_store.jobs.report_selection import selection_facts, selection_of
from influence_store.report.facts import ReportFacts
from influence_store.report.page import page
from influence_store.report.publish import check_free, publish
from influence_store.report.values import Missing
from influence_store.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from influence_store.store.store import Store
    from influence_store.store.versions import Version


@dataclass(frozen=True)
class ReportFile:
    """Where the page lies, how large it is, and what stands in it."""

    path: str
    bytes: int
    report: ReportFacts

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return {"path": self.path, "bytes": self.bytes, **self.report.facts()}

    def lines(self) -> list[str]:
        """For people: the file, and what would make it fuller."""
        told = [f"report on {self.report.name}: {self.path} ({self.bytes / 1e6:.2f} MB)"]
        for section in vars(self.report).values():
            if isinstance(section, Missing):
                told += [f"  {section.missing}", f"    {section.command}"]
        return told


def report(
    store: Store,
    version: Version,
    out: Path,
    *,
    selection: str | None = None,
    by: str | None = None,
    points: int = 20_000,
    seed: int = 0,
    overwrite: bool = False,
) -> ReportFile:
    """Write the report on `version` to the file `out`, whole or not at all.

    UsageError if `out` is there and no report, unless `overwrite`; MissingExtra without altair,
    Jinja2 and vl-convert. See `report_facts` for the rest.
    """
    check_free(out, overwrite=overwrite)
    facts = report_facts(store, version, selection=selection, by=by, points=points, seed=seed)
    html = page(facts)
    publish(html, out)
    return ReportFile(str(out), len(html), facts)


def report_facts(
    store: Store,
    version: Version,
    *,
    selection: str | None = None,
    by: str | None = None,
    points: int = 20_000,
    seed: int = 0,
) -> ReportFacts:
    """All that a report on `version` says.

    `selection` is an id or its beginning, by default the newest; `by` names the column of the
    examples and the map, by default the one with most values that may be believed. At most
    `points` are on the map, drawn with `seed` where there are more rows. NotFound for an unknown
    selection or column, UsageError for a selection from another dataset.
    """
    chosen = selection_of(store, version, selection)
    rows = Rows.of(store, version)
    columns = columns_of(store, rows)
    column = chosen_column(store, columns, by)
    return ReportFacts(
        dataset=version.dataset,
        version=version.number,
        tool=f"influence-store {__version__}",
        contents=contents(store, rows),
        influence=influence(store, rows, columns),
        accuracy=accuracy(store, rows),
        cost=cost(store, version.dataset),
        selection=selection_facts(store, rows, chosen),
        overlap=overlap(rows, columns),
        examples=examples(store, rows, column, chosen),
        map=embedding_map(store, rows, column, chosen, points, seed),
    )
