"""Was the selection worth its price? Its gain curve, and the rivals that were stored with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sqlmodel import col, select

from influence_store.errors import UsageError
from influence_store.jobs.stored_selection import stored_selection
from influence_store.jobs.trial_past import comparisons_of
from influence_store.report.selection_facts import (
    CurvePoint,
    Group,
    Knee,
    RandomSets,
    Reference,
    SelectionFacts,
    TrialRow,
)
from influence_store.report.values import Missing
from influence_store.schema.catalog import DatasetVersion, Selection
from influence_store.selection.knee import knee

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from influence_store.jobs.report_rows import Rows
    from influence_store.jobs.stored_selection import StoredSelection
    from influence_store.protocols import Doubles
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

_CURVE_POINTS = 60


def selection_of(store: Store, version: Version, name: str | None) -> StoredSelection | None:
    """The selection `name`, or the newest of the dataset up to this version; None if there is none.

    UsageError if `name` chose from another dataset.
    """
    if name is None:
        newest = _newest(store, version)
        return None if newest is None else stored_selection(store, newest)
    found = stored_selection(store, name)
    if found.version.dataset_id != version.dataset_id:
        raise UsageError(
            f"selection {found.row.id} chose from {found.version}, not from {version}",
            hint=f"influence-store report {found.version} --selection {found.row.id}",
        )
    return found


def _newest(store: Store, version: Version) -> str | None:
    """Of this very version if there is one, else of the one before it that has one."""
    query = (
        select(Selection.id)
        .join(DatasetVersion, col(DatasetVersion.id) == col(Selection.dataset_version_id))
        .where(
            DatasetVersion.dataset_id == version.dataset_id,
            DatasetVersion.number <= version.number,
        )
        .order_by(
            col(DatasetVersion.number).desc(), col(Selection.created_at).desc(), col(Selection.id)
        )
        .limit(1)
    )
    with store.database.read() as session:
        return session.exec(query).first()


def selection_facts(
    store: Store, rows: Rows, found: StoredSelection | None
) -> SelectionFacts | Missing:
    """The fifth section of the report."""
    version = rows.version
    if found is None:
        return Missing(
            "Nothing was selected from this dataset yet.",
            f"influence-store select {version} --budget 10%",
        )
    row, facts = found.row, found.row.facts
    told: Mapping[str, Any] = facts.get("baselines") or {}
    answer: Mapping[str, Any] = facts.get("answer", {})
    random = told.get("random")
    curve, bend = _curve(found)
    return SelectionFacts(
        id=row.id,
        dataset=str(found.version),
        same_version=found.version.id == version.id,
        objective=row.objective,
        kernel=row.kernel,
        budget=str(facts["inputs"]["budget"]),
        picks=row.n_items,
        rows=len(found.version.bits),
        measure="coverage by cosine" if "picks" in facts else f"value of {row.objective}",
        value=told.get("value"),
        gained=told.get("nonzero_gain_picks") if "function" in facts else None,
        curve=curve,
        knee=bend,
        random=None
        if random is None
        else RandomSets(
            random["draws"], random["mean"], random["sd"], random["min"], random["max"]
        ),
        references=_references(told),
        not_compared=tuple(told.get("left_out", ())),
        quotas=tuple(_quota(rows, one) for one in facts["inputs"].get("quotas", ())),
        groups=tuple(
            Group(rows.short.get(name, name), count)
            for name, count in answer.get("groups", {}).items()
        ),
        trials=tuple(_trials(store, row.id)),
        words=_words(facts, answer),
    )


def _trials(store: Store, selection: str) -> Iterator[TrialRow]:
    """The newest answer of every trial that this selection was part of."""
    for told, one in comparisons_of(store, selection):
        ends: dict[str, Any] = {name: one.get(name) for name in ("mean", "low", "high")}
        yield TrialRow(
            **{name: told[name] for name in ("trial", "learner", "held", "unit")},
            **{name: one[name] for name in ("against", "baseline", "words")},
            **ends,
        )


def _quota(rows: Rows, text: str) -> str:
    """As it was asked, a file of the dataset named as everywhere in the report."""
    subject, equals, bounds = text.rpartition("=")
    attribute, colon, value = subject.partition(":")
    return f"{attribute}{colon}{rows.short.get(value, value)}{equals}{bounds}"


def _references(told: Mapping[str, Any]) -> tuple[Reference, ...]:
    """With the place of each between random (0) and this selection (1), if that is a way up."""
    up = "random" in told and told["value"] > told["random"]["mean"]
    return tuple(
        Reference(name, one["value"], one["normalised_gain"] if up else None)
        for name, one in told.get("references", {}).items()
    )


def _curve(found: StoredSelection) -> tuple[tuple[CurvePoint, ...], Knee | None]:
    """The value of the first k picks, and where it bends; empty for orders without gains."""
    facts, gains = found.row.facts, found.gains
    if "function" not in facts or not len(gains) or not np.isfinite(gains).all():
        return (), None
    stored = facts.get("knee")
    if stored is not None:
        # The budget was the knee itself: the curve that showed it goes on behind the last pick.
        whole = float(gains.sum()) / stored["share"] if stored["share"] else 0.0
        points = tuple(CurvePoint(k, share * whole, share) for k, _, share in stored["curve"])
        return points, Knee(stored["n"], stored["share"], stored["bend"])
    return _points(gains), _knee(gains)


def _points(gains: Doubles) -> tuple[CurvePoint, ...]:
    value = np.cumsum(gains)
    whole = float(value[-1]) if value[-1] > 0 else 1.0
    n = len(gains)
    kept = np.unique(np.linspace(0, n - 1, min(n, _CURVE_POINTS)).round().astype(np.int64))
    return tuple(CurvePoint(k + 1, float(value[k]), float(value[k]) / whole) for k in kept.tolist())


def _knee(gains: Doubles) -> Knee | None:
    bend = knee(gains)
    return None if bend.n is None else Knee(bend.n, bend.share, bend.bend)


def _words(facts: Mapping[str, Any], answer: Mapping[str, Any]) -> tuple[str, ...]:
    """How it was computed and how good it can be at least, as `select` told it."""
    told: Sequence[Any] = (
        facts.get("plan", {}).get("told"),
        answer.get("certificate", {}).get("told"),
        answer.get("told"),
    )
    return tuple(str(one) for one in told if one)
