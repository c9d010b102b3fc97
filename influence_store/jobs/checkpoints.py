"""Checkpoints of a small fine-tuning run on a dataset's rows: found in the store, or trained.

They are facts like any other: kept as artifacts, named by their hashes. A later version of the
dataset reuses them, because values of different checkpoints cannot be compared.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyroaring import BitMap

from influence_store.errors import InputError
from influence_store.influence.checkpoints import Checkpoint
from influence_store.jobs.samples import read_samples
from influence_store.schema.identity import ID_BYTES, content_order, fingerprint, sample_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlmodel import Session

    from influence_store.influence.checkpoints import Recipe
    from influence_store.influence.learner import Learner, Reading
    from influence_store.schema.catalog import Producer
    from influence_store.schema.sample import Sample
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

KIND = "checkpoints"
#: Fewer rows than this teach a fine-tune nothing, whatever the share says.
SMALLEST = 32
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """Checkpoints and the contents they were trained on."""

    checkpoints: tuple[Checkpoint, ...]
    sample_ids: frozenset[bytes]


def training_samples(store: Store, version: Version, share: float, seed: int) -> list[Sample]:
    """A random `share` of a version's rows, at least `SMALLEST`, in an order set by `seed`.

    The draw is independent of the order in which rows are labelled.
    """
    sids, samples = read_samples(store, BitMap(version.bits))
    ids = [sample_id(sample) for sample in samples]
    order = content_order(ids, seed, "fine-tuning")
    n = min(len(sids), max(SMALLEST, round(share * len(sids))))
    return [samples[k] for k in order[:n]]


def find(store: Store, key: Mapping[str, Any]) -> Producer | None:
    """The oldest checkpoints trained by this key: model, settings, recipe, dataset and share."""
    for producer in store.producers(KIND):
        if producer.facts["key"] == dict(key):
            return producer
    return None


def load(store: Store, producer: Producer) -> Trained:
    """Read stored checkpoints, bytes checked."""
    facts = producer.facts
    content = store.get_artifact(facts["rows"])
    ids = (content[k : k + ID_BYTES] for k in range(0, len(content), ID_BYTES))
    checkpoints = [Checkpoint.from_bytes(store.get_artifact(sha)) for sha in facts["checkpoints"]]
    return Trained(tuple(checkpoints), frozenset(ids))


def usable(learner: Learner, samples: Sequence[Sample]) -> tuple[list[Sample], list[Reading]]:
    """The samples that `learner` can read, and their readings.

    InputError if there is none; some left out are told.
    """
    readings = [learner.read(sample) for sample in samples]
    used = [k for k, reading in enumerate(readings) if reading.usable]
    if not used:
        raise InputError(
            f"none of {len(samples)} training rows can be read by {learner.name}",
            hint="take a model with a longer limit, or rows with shorter texts",
        )
    if left_out := len(samples) - len(used):
        _log.warning("%d of %d training rows do not fit: left out", left_out, len(samples))
    return [samples[k] for k in used], [readings[k] for k in used]


def train(
    store: Store,
    learner: Learner,
    samples: Sequence[Sample],
    recipe: Recipe,
    key: Mapping[str, Any],
) -> Trained:
    """Fine-tune on the usable ones of `samples` and keep every checkpoint; a run of its own."""
    used, readings = usable(learner, samples)
    scope = f"checkpoints:{fingerprint(dict(key))}"
    with store.claim("fine-tune", scope, {"dataset": key["dataset"]}) as run:
        before = learner.ledger.facts()
        checkpoints = learner.train(readings, recipe)
        ids = b"".join(sample_id(sample) for sample in used)
        rows = store.put_artifact(ids, "sample-ids")
        kept = [store.put_artifact(one.to_bytes(), "checkpoint") for one in checkpoints]
        facts = {
            "key": dict(key),
            "learner": dict(learner.facts),
            "rows": rows.sha256,
            "n_rows": len(used),
            "checkpoints": [one.sha256 for one in kept],
        }

        def register(session: Session, _blocks: list[int]) -> None:
            store.producer_in(session, KIND, learner.name, facts, dim=0, higher_means="neither")

        cost = {name: count - before[name] for name, count in learner.ledger.facts().items()}
        run.publish([], register, artifacts=[rows, *kept], spent=cost)
        run.report({"checkpoints": len(kept), "rows": len(used)}, cost)
    return Trained(tuple(checkpoints), frozenset(sample_id(sample) for sample in used))
