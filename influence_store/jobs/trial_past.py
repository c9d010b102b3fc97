"""Which trials were there, and what did they find? Read from the log of runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlmodel import col, select

from influence_store.schema.catalog import Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from influence_store.store.store import Store
    from influence_store.store.versions import Version


@dataclass(frozen=True)
class PastTrials:
    """The results of the trials of a dataset, newest first."""

    dataset: str
    trials: tuple[Mapping[str, Any], ...]

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return {"dataset": self.dataset, "trials": [dict(one) for one in self.trials]}

    def lines(self) -> list[str]:
        """For people: every comparison in words."""
        if not self.trials:
            return [f"nothing selected from {self.dataset} was tried yet"]
        return [line for one in self.trials for line in _lines(one)]


def past_trials(store: Store, version: Version) -> PastTrials:
    """What was found in trials of any version of the dataset of `version`."""
    whole = _results(store)
    ours = [one for one in whole if one["dataset"].partition("@")[0] == version.dataset]
    return PastTrials(version.dataset, tuple(ours))


def trials_of(store: Store, selection: str) -> list[dict[str, Any]]:
    """The results of the trials that a selection was part of, newest first."""
    return [
        told
        for told in _results(store)
        if any(one["selection"] == selection for one in told["comparisons"])
    ]


def comparisons_of(
    store: Store, selection: str
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Of each trial of `trials_of`, the trial and one comparison of the selection in it."""
    for told in trials_of(store, selection):
        for one in told["comparisons"]:
            if one["selection"] == selection:
                yield told, one


def _results(store: Store) -> list[dict[str, Any]]:
    """The newest result of each trial: its statistics may have been computed several times."""
    query = select(Run.result).where(Run.verb == "trial", Run.state == "committed")
    with store.database.read() as session:
        found = session.exec(query.order_by(col(Run.started_at).desc(), col(Run.id))).all()
    newest: dict[str, dict[str, Any]] = {}
    for told in found:
        newest.setdefault(told["trial"], dict(told))
    return list(newest.values())


def _lines(told: Mapping[str, Any]) -> list[str]:
    head = f"trial {told['trial']} on {told['dataset']}: {told['learner']}, judged by "
    words = [f"  {one['selection']}: {one['words']}" for one in told["comparisons"]]
    return [f"{head}{told['held']:,} of {told['held_out_of']}", *words]
