"""Is nobody else at work? What takes contents away may not happen under a run that read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlmodel import select

from influence_store.errors import Busy
from influence_store.schema.catalog import Run
from influence_store.store import owner
from influence_store.store.runs import fence_dead

if TYPE_CHECKING:
    from sqlmodel import Session


def refuse_others(session: Session, now: float, run_id: str) -> None:
    """Busy if another run than `run_id` is alive; those that are not are fenced off for good.

    As a part of a publish: whoever claims later sees what was published.
    """
    others = select(Run).where(Run.state == "writing", Run.id != run_id)
    if (run := fence_dead(session, session.exec(others).all(), now)) is not None:
        raise Busy(
            f"{run.verb} is at work: {owner.describe(run.owner)}, "
            f"for {now - run.started_at:.0f} s; contents can be taken away only between runs",
            hint="wait for it, or stop it, and run this command again; see `status`",
        )
