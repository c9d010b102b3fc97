"""`top`: which rows help one sample most? Exact, from the stored vectors of a bilinear method."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pyroaring import BitMap

from influence_store.errors import NotComputed, NotFound
from influence_store.jobs.cells import content_ids, sids_named
from influence_store.jobs.kernels import COSINE, SE, bilinear_sides
from influence_store.jobs.samples import read_samples
from influence_store.schema.identity import sample_id

if TYPE_CHECKING:
    from influence_store.schema.catalog import Producer
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

_HEAD = 60


@dataclass(frozen=True)
class Helper:
    """One row and what it is worth to the target."""

    sample_id: str
    value: float
    prompt: str


@dataclass(frozen=True)
class TopReport:
    """The rows of `dataset` that help `target` most, best first."""

    dataset: str
    target: str
    method: str
    rows: tuple[Helper, ...]

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return {
            "dataset": self.dataset,
            "target": self.target,
            "method": self.method,
            "rows": [asdict(row) for row in self.rows],
        }

    def lines(self) -> list[str]:
        """For people."""
        told = [f"{self.method}: rows of {self.dataset} that help {self.target[:12]} most"]
        return [
            *told,
            *(f"  {row.value:+.4f}  {row.sample_id[:12]}  {row.prompt}" for row in self.rows),
        ]


def top(store: Store, version: Version, target: str, method: str, k: int) -> TopReport:
    """The `k` rows of `version` with the largest S[target, row], the target itself left out.

    `target` is a sample id or the start of one. NotFound if it is no sample or has no vector.
    """
    sid, full = _sample(store, target)
    sources, aims = _sides(store, version, method)
    assert aims.id is not None
    if sid not in store.covered(aims.id):
        raise NotComputed(
            f"sample {full[:12]} has no target vector of {method}",
            hint=f"run: influence-store label DATASET --method {method} --targets ITS_DATASET …",
        )
    query = store.vectors(aims, np.array([sid]))[0]
    sids, values = store.nearest(sources, query, k, version.bits - BitMap([sid]))
    found, samples = read_samples(store, BitMap(sids.astype(np.uint32)))
    by_sid = dict(zip(found.tolist(), samples, strict=True))
    rows = []
    for one, value in zip(sids.tolist(), values.tolist(), strict=True):
        head = " ".join(by_sid[one].prompt[: 2 * _HEAD].split())[:_HEAD]
        rows.append(Helper(sample_id(by_sid[one]).hex(), value, head))
    return TopReport(str(version), full, method, tuple(rows))


def _sides(store: Store, version: Version, method: str) -> tuple[Producer, Producer]:
    if method in (COSINE, SE):
        covering = [one for one in store.producers("embedding") if not store.missing(version, one)]
        if not covering:
            raise NotComputed(
                f"{version} has no complete embeddings",
                hint=f"run: influence-store embed {version} --embedder E",
            )
        return covering[-1], covering[-1]
    known = sorted({one.name for one in store.producers("vectors")})
    sides = bilinear_sides(store, method)
    if sides is None:
        raise NotFound.named("bilinear method with vectors", method, [SE, *known])
    sources, aims = sides
    if aims is None:
        raise NotComputed(
            f"{method} has source vectors but none of targets",
            hint=f"run: influence-store label {version} --method {method} --targets D …",
        )
    return sources, aims


def _sample(store: Store, prefix: str) -> tuple[int, str]:
    """The sid and full id of the one sample whose id begins with `prefix`."""
    sids = sids_named(store, [prefix])
    return int(sids[0]), content_ids(store, sids)[0].hex()
