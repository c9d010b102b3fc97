"""How much does each row help a whole target set? One number per row, from stored vectors.

For a bilinear method that is the mean product with the targets' vectors, which costs no pass.
With several subtasks: the mean over the targets of each, then the largest (LESS §4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
from pyroaring import BitMap

from influence_store.errors import InputError
from influence_store.influence.less import aggregate
from influence_store.jobs.cells import content_ids, how_measured
from influence_store.jobs.label_rows import POINTS
from influence_store.jobs.samples import chunks
from influence_store.schema import tables
from influence_store.schema.identity import fingerprint

if TYPE_CHECKING:
    from influence_store.protocols import Ids, InfluenceSpec
    from influence_store.schema.catalog import Producer
    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

_PAIRS_AT_ONCE = 1 << 23
_ALL = "all"


def reduce_to_targets(
    store: Store,
    run: ActiveRun,
    spec: InfluenceSpec,
    sources: Producer,
    targets: Producer,
    target_version: Version,
    rows: BitMap,
    *,
    subtask_by: str | None = None,
) -> Producer:
    """Write the help for `target_version` of every row of `rows` that has a source vector.

    Output `<method>-for-<dataset>`: max over subtasks of the mean over their targets, a row's own
    pair left out; with several subtasks, one output more for each. Null without a vector.
    """
    sids, subtask_of = _subtasks(store, target_version, subtask_by)
    vectors = store.vectors(targets, sids).astype(np.float64)
    vectors[~how_measured(store, targets, sids)["measured"]] = np.nan
    names = np.unique(subtask_of).tolist()
    best = f"{spec.name}-for-{target_version.dataset}"
    outputs = [best, *[f"{best}-{name}" for name in names]] if len(names) > 1 else [best]
    facts = {
        "sources": sources.fingerprint,
        "targets": targets.fingerprint,
        "target_rows": _digest(store, sids),
        "subtask_by": subtask_by,
        "outputs": outputs,
    }
    producer = store.producer(POINTS, best, facts, higher_means=spec.higher_means)
    assert producer.id is not None
    assert sources.id is not None
    missing = (rows & store.covered(sources.id)) - store.covered(producer.id)
    for part in chunks(missing, max(1, _PAIRS_AT_ONCE // len(sids))):
        ours = np.asarray(part.to_array(), np.int64)
        how = how_measured(store, sources, ours)
        scores = store.vectors(sources, ours).astype(np.float64) @ vectors.T
        scores[ours[:, None] == sids] = np.nan  # a row does not vouch for itself
        scores[~how["measured"]] = np.nan
        per_subtask, helpful = aggregate(scores, subtask_of)
        values = [helpful, *(per_subtask.T if len(names) > 1 else [])]
        arrays = [pa.array(one, pa.float64(), from_pandas=True) for one in values]
        rest = [pa.array(how["n_tokens"]), pa.array(how["truncated"])]
        batch = pa.record_batch([pa.array(ours), *arrays, *rest], schema=tables.points(outputs))
        run.publish(
            [run.stage(POINTS, [batch], batch.schema, BitMap(part), producer_id=producer.id)]
        )
    return producer


def _subtasks(store: Store, version: Version, field: str | None) -> tuple[Ids, Any]:
    """The version's sids and the subtask of each: the value of an extra field of its record."""
    sids = version.sids
    if field is None:
        return sids, np.full(len(sids), _ALL)
    found: dict[int, str] = {}
    blocks = store.blocks("rows", dataset_id=version.dataset_id)
    for batch in store.scan(blocks, ["sid", "extra"], version.bits):
        for row in batch.to_pylist():
            extra = orjson.loads(row["extra"])
            if field in extra:
                found[row["sid"]] = str(extra[field])
    if lacking := [sid for sid in sids.tolist() if sid not in found]:
        raise InputError(
            f"{len(lacking)} of {len(sids)} rows of {version} have no field {field!r}",
            hint="see the fields kept: influence-store query "
            f'"select extra from {version.dataset} limit 3"',
        )
    return sids, np.array([found[sid] for sid in sids.tolist()])


def _digest(store: Store, sids: Ids) -> str:
    """Of the contents behind `sids`, in whatever order."""
    return fingerprint({"sample_ids": sorted(one.hex() for one in content_ids(store, sids))})
