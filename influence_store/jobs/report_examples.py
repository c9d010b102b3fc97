"""Which texts stand at the top, in the middle and at the bottom of an influence column?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pyroaring import BitMap

from influence_store.jobs.cells import content_ids
from influence_store.jobs.samples import read_samples
from influence_store.report.facts import Example, ExampleGroup, Examples
from influence_store.report.values import Missing

if TYPE_CHECKING:
    from influence_store.jobs.report_influence import Column
    from influence_store.jobs.report_rows import Rows
    from influence_store.jobs.stored_selection import StoredSelection
    from influence_store.protocols import Ids
    from influence_store.store.store import Store

#: Samples of each group, and characters that are shown of each text.
EACH, SHOWN = 5, 600


def examples(
    store: Store, rows: Rows, column: Column | None, selection: StoredSelection | None
) -> Examples | Missing:
    """A few texts by `column`, each with its rank in the selection if it was picked."""
    if column is None:
        return Missing(
            "No influence column is stored, so there is no top and no bottom to show.",
            f"influence-store fill {rows.version}",
        )
    picked = [] if selection is None else selection.sids.tolist()
    ranks = {sid: rank for rank, sid in enumerate(picked, start=1)}
    order = np.argsort(-column.values, kind="stable")
    groups = tuple(
        ExampleGroup(name, _examples(store, rows, column, chosen, ranks))
        for name, chosen in _thirds(order)
        if len(chosen)
    )
    return Examples(column.name, column.producer.higher_means, groups)


def _thirds(order: Ids) -> list[tuple[str, Ids]]:
    """Some of the first, the middle and the last of `order`; no row twice."""
    n = len(order)
    if n < 3 * EACH:
        return [("all, highest first", order)]
    start = (n - EACH) // 2
    return [
        ("highest", order[:EACH]),
        ("middle", order[start : start + EACH]),
        ("lowest", order[-EACH:]),
    ]


def _examples(
    store: Store, rows: Rows, column: Column, chosen: Ids, ranks: dict[int, int]
) -> tuple[Example, ...]:
    places = column.places[chosen]
    sids = rows.sids[places]
    found, samples = read_samples(store, BitMap(sids.astype(np.uint32)))
    texts = dict(zip(found.tolist(), samples, strict=True))
    told = []
    for sid, place, value, name in zip(
        sids.tolist(),
        places.tolist(),
        column.values[chosen].tolist(),
        content_ids(store, sids),
        strict=True,
    ):
        (prompt, prompt_more), (response, response_more) = map(
            _cut, (texts[sid].prompt, texts[sid].response)
        )
        told.append(
            Example(
                sample_id=name.hex(),
                value=value,
                source=rows.sources[place],
                rank=ranks.get(sid),
                prompt=prompt,
                prompt_more=prompt_more,
                response=response,
                response_more=response_more,
            )
        )
    return tuple(told)


def _cut(text: str) -> tuple[str, int]:
    """The beginning of a text, and how many of its characters are left out."""
    return text[:SHOWN], max(0, len(text) - SHOWN)
