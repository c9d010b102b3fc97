"""`embed --dry-run` and `fill --dry-run`: what is missing, and what would it cost to compute it?

Random rows of those that are missing are computed for a few seconds and thrown away.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from pyroaring import BitMap

from influence_store.jobs.cost import CostPlan, Part, all_characters, characters
from influence_store.jobs.embed import encode
from influence_store.jobs.fill import open_network, predict, require_inputs
from influence_store.jobs.samples import read_samples
from influence_store.progress import progress
from influence_store.schema import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from influence_store.jobs.estimators import Trained
    from influence_store.protocols import Embedder
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

CALIBRATION_SECONDS = 5.0
#: Rows that are measured first; twice as many each time after.
_FIRST_ROWS = {"embed": 8, "fill": 1024}


def plan_embed(store: Store, version: Version, embedder: Embedder) -> CostPlan:
    """What `embed` would compute for `version`; seconds grow with the characters of a text.

    InputError or Incompatible where the embedder has no usable vector for one of the rows tried.
    """
    known = store.find_producer("embedding", embedder.name, embedder.facts)
    missing = store.missing(version, known) if known else version.bits
    done = 0

    def measure(part: BitMap) -> None:
        nonlocal done
        _, samples = read_samples(store, part)
        encode(embedder, samples)
        done += sum(map(characters, samples))

    measured, seconds = _timed(f"timing {embedder.name}", missing, _FIRST_ROWS["embed"], measure)
    share = all_characters(store, missing) / done if done else 0.0
    width = _bytes_per_row(tables.embedding(embedder.dim))
    part = _part(embedder.name, version, missing, measured, share * seconds, width)
    return CostPlan(str(version), "this machine", (part,))


def plan_fill(store: Store, version: Version, trained: Trained) -> CostPlan:
    """What `fill` would compute for `version`; Incompatible as `fill` would say it."""
    missing = store.missing(version, trained.producer)
    estimator = open_network(store, trained)
    require_inputs(store, version, missing, trained)
    schema: list[pa.Schema] = []

    def measure(part: BitMap) -> None:
        schema.append(predict(store, trained, estimator, part).schema)

    name = trained.producer.name
    measured, seconds = _timed(f"timing {name}", missing, _FIRST_ROWS["fill"], measure)
    scaled = seconds * len(missing) / measured if measured else 0.0
    width = _bytes_per_row(schema[0]) if schema else 0
    part = _part(name, version, missing, measured, scaled, width)
    return CostPlan(str(version), estimator.provider, (part,))


def _timed(
    what: str, missing: BitMap, first: int, measure: Callable[[BitMap], None]
) -> tuple[int, float]:
    """How many random rows of `missing` were measured, and in how many seconds."""
    measured, seconds = 0, 0.0
    with progress(what, len(missing)) as advance:
        for part in _growing(missing, first):
            began = time.monotonic()
            measure(part)
            seconds += time.monotonic() - began
            measured += len(part)
            advance(len(part))
            if seconds > CALIBRATION_SECONDS:
                break
    return measured, seconds


def _growing(missing: BitMap, first: int) -> Iterator[BitMap]:
    """All of `missing` in a random order (always the same), in parts that grow."""
    order = np.random.default_rng(0).permutation(np.asarray(missing.to_array()))
    start, size = 0, first
    while start < len(order):
        yield BitMap(order[start : start + size])
        start, size = start + size, 2 * size


def _part(
    name: str, version: Version, missing: BitMap, measured: int, seconds: float, width: int
) -> Part:
    known = len(version.bits) - len(missing)
    return Part(name, len(missing), known, 0, 0, seconds, len(missing) * width, measured)


def _bytes_per_row(schema: pa.Schema) -> int:
    """Stored per row, before any compression."""
    bits = [
        field.type.list_size * field.type.value_type.bit_width
        if hasattr(field.type, "list_size")
        else field.type.bit_width
        for field in schema
    ]
    return int(-(-sum(bits) // 8))
