"""Which estimators of another store can be used here, and what is known of them?

An estimator is a file, so it can be copied. Whether it ranks the samples here as its teacher would
is another question: it counts as unmeasured until `evaluate` has compared it with labels here.
With it come the hashes of the samples it was taught on, so that none of them is used to judge it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from influence_store.errors import IntegrityError, NotFound
from influence_store.jobs.cells import content_ids
from influence_store.jobs.estimators import all_estimators, is_called
from influence_store.jobs.learned import learned
from influence_store.schema.catalog import Estimator, Producer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlmodel import Session

    from influence_store.jobs.estimators import Trained
    from influence_store.protocols import HigherMeans
    from influence_store.store.runs import ActiveRun
    from influence_store.store.store import Store

ALL = "all"
UNMEASURED = "unmeasured here"


@dataclass(frozen=True)
class EstimatorPulled:
    """`there` is its verdict where it was trained; `new` is False where it was here already."""

    name: str
    fingerprint: str
    trained_on: str
    there: str
    new: bool

    def line(self) -> str:
        """For people."""
        called = f"  estimator {self.name} ({self.fingerprint[:12]})"
        told = f"{called}, {self.there!r} on {self.trained_on} there"
        if not self.new:
            return f"{told}: is here already"
        return f"{told}: unmeasured here until you run: influence-store evaluate {self.name} --on D"


def pull_estimators(
    store: Store, other: Store, run: ActiveRun, names: Sequence[str]
) -> tuple[EstimatorPulled, ...]:
    """Copy the estimators of `other` called `names` ("all": every one); NotFound if one is not."""
    there = all_estimators(other)
    for name in names:
        if name != ALL and not any(is_called(one.producer, name) for one in there):
            raise NotFound.named("estimator there", name, [one.producer.name for one in there])
    chosen = [
        one for one in there if any(name == ALL or is_called(one.producer, name) for name in names)
    ]
    return tuple(_pull(store, other, run, one) for one in chosen)


def same_producer(store: Store, other: Store, there: Producer) -> Producer:
    """The producer here with the facts of the one there; IntegrityError if its name lies."""
    here = store.producer(
        there.kind,
        there.name,
        there.facts,
        dim=there.dim,
        higher_means=cast("HigherMeans", there.higher_means),
    )
    if here.fingerprint != there.fingerprint:
        raise IntegrityError(
            f"producer {there.name} of {other.uri} is called {there.fingerprint[:12]}, but its "
            f"facts give {here.fingerprint[:12]}",
            hint="that catalog was changed by hand, or written by another version of this program",
        )
    return here


def _pull(store: Store, other: Store, run: ActiveRun, there: Trained) -> EstimatorPulled:
    method = _producer(other, there.row.method_id)
    ids = [_id_here(store, other, one) for one in (there.producer, method, there.embedder)]
    state_id = _id_here(store, other, there.state) if there.state is not None else None
    lesson = learned(other, there)
    model = store.put_artifact(other.get_artifact(there.row.artifact), "onnx")
    packed = b"".join(sorted(content_ids(other, lesson.samples)))
    taught = store.put_artifact(packed, "sample-ids")
    origin = {
        "store": other.database.store_id(),
        "dataset": lesson.home,
        "verdict": there.row.verdict,
        "taught": taught.sha256,
    }
    added: list[bool] = []

    def more(session: Session, _block_ids: list[int]) -> None:
        producer_id, method_id, embedder_id = ids
        added[:] = [session.get(Estimator, producer_id) is None]
        if added[0]:
            session.add(
                Estimator(
                    producer_id=producer_id,
                    dataset_version_id=None,
                    method_id=method_id,
                    output=there.row.output,
                    embedder_id=embedder_id,
                    state_id=state_id,
                    network=there.row.network,
                    artifact=model.sha256,
                    verdict=UNMEASURED,
                    card={**there.row.card, "origin": origin},
                    run_id=run.id,
                )
            )

    run.publish([], more, [model, taught])
    producer = there.producer
    return EstimatorPulled(
        producer.name, producer.fingerprint, lesson.home, there.row.verdict, added[0]
    )


def _id_here(store: Store, other: Store, there: Producer) -> int:
    here = same_producer(store, other, there)
    assert here.id is not None
    return here.id


def _producer(store: Store, id_: int) -> Producer:
    with store.database.read() as session:
        return session.get_one(Producer, id_)
