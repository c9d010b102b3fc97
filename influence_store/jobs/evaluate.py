"""`evaluate`: does an estimator rank another dataset as its teacher does there?

The labels that are stored there are compared with what the estimator says of the same pairs. It
is judged by the rules of its own accuracy card, beside cosine, the mean and additive ridge that
were fitted to the labels it learned from: all of them come from there, none has seen a label here.
Pairs with a sample that it was taught on, or with a near-duplicate of one, are shown by
themselves and do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from pyroaring import BitMap
from sqlmodel import col, select

from influence_store.counted import counted
from influence_store.errors import Incompatible, InputError, NotComputed, UsageError
from influence_store.influence import METHODS
from influence_store.jobs.estimators import find_estimator, is_called
from influence_store.jobs.evaluate_pulled import held_out_of_pulled
from influence_store.jobs.features import FREE, block_fingerprints, gather
from influence_store.jobs.learned import learned
from influence_store.network.baselines import fit_additive_ridge, fit_cosine, fit_mean
from influence_store.network.card import RAW_COSINE, AccuracyCard
from influence_store.network.drift import distance_to_nearest
from influence_store.network.evaluate import HeldOut, cards
from influence_store.network.features import EMBEDDING
from influence_store.network.judged import Pairs
from influence_store.network.labels import NEAR_DUPLICATE, SeedPairs, usable
from influence_store.network.predict import predict_pairs
from influence_store.network.train import MIN_TARGETS
from influence_store.schema.catalog import Run
from influence_store.schema.estimator import Unit
from influence_store.schema.identity import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.jobs.estimators import Trained
    from influence_store.jobs.learned import Learned
    from influence_store.network.features import Features
    from influence_store.protocols import Flags, Gains, Ids
    from influence_store.schema.catalog import Producer
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

VERB = "evaluate"
SEEN = "seen"
_BASELINES = {"mean": fit_mean, "cosine": fit_cosine, "additive-ridge": fit_additive_ridge}


@dataclass(frozen=True)
class EvaluateReport:
    """The card of `estimator` on the labels of `dataset` × `targets`, and what it was at home.

    `same_teacher` is False where the labels come from another method, model or template than
    those it learned from; `differs` says in what. `seen` pairs do not count in the card's verdict.
    """

    estimator: str
    fingerprint: str
    trained_on: str
    dataset: str
    targets: str
    method: str
    labels: str
    output: str
    same_teacher: bool
    differs: tuple[str, ...]
    pairs: int
    seen: int
    card: AccuracyCard
    home_verdict: str
    home_rank: float | None

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        told = {**vars(self), "differs": list(self.differs), "card": self.card.facts()}
        return {**told, "verdict": self.card.verdict}

    def lines(self) -> list[str]:
        """For people: rank agreement first, then the card."""
        rank, home = self.card.spearman, self.home_rank
        there = f"; on {self.trained_on} it was {home:.2f}" if home is not None else ""
        told = [
            f"{self.estimator} on {self.dataset} × {self.targets}, labels of {self.method} "
            f"({self.output}): rank agreement {rank.mean:.2f} [{rank.low:.2f}, {rank.high:.2f}]"
            f"{there}"
        ]
        if not self.same_teacher:
            told.append(
                f"  not the teacher it imitates, differs in {', '.join(self.differs)}: compare "
                "ranks, not errors"
            )
        own = self.card.own
        if own.calibration_slope is not None and own.calibration_intercept is not None:
            told.append(
                f"  label ≈ {own.calibration_slope:.2f} · estimate "
                f"{own.calibration_intercept:+.3g} (1 and 0 need no rescaling)"
            )
        told += [f"  {line}" for line in self.card.lines()]
        if self.seen:
            seen = counted(self.seen, "pair has", "pairs have")
            told.append(f"  {seen} a sample it was taught on: {SEEN} above")
        return told


def evaluate(
    store: Store,
    estimator_name: str | None,
    version: Version,
    targets: Version,
    *,
    method: str | None = None,
    output: str | None = None,
    seed: int = 0,
) -> EvaluateReport:
    """Measure an estimator on the labels between `version` and `targets`; recorded as a run.

    `method` names other labels than those of its teacher (a name, or 6 digits of a fingerprint),
    `output` another of their outputs. NotFound if there are no labels, InputError if they are too
    few to judge by, Incompatible if a labelled sample lacks a feature that the estimator reads.
    """
    trained = find_estimator(store, estimator_name)
    lesson = learned(store, trained)
    if lesson.method.kind != "pairs":
        raise UsageError(
            f"{trained.producer.name} imitates {lesson.method.name}, which labels no pairs",
            hint="only estimators of pairwise methods can be measured on another dataset's labels",
        )
    exam = _exam(store, trained, lesson, version, targets, method, output)
    params = {"dataset": str(version), "targets": str(targets), "method": exam.method.name}
    params["estimator"] = trained.producer.fingerprint
    scope = f"{VERB}:{trained.producer.fingerprint}:{version.dataset}:{targets.dataset}"
    with store.claim(VERB, scope, params) as run:
        asked = _labels(store, trained, exam.pairs)
        is_seen, held_out = _judged(store, trained, lesson, asked, exam, seed)
        settings = {"seed": seed, "labels": asked.pairs.facts()}
        network = trained.row.network
        differs = _differing(lesson.method, exam, trained.row.output)
        report = EvaluateReport(
            estimator=trained.producer.name,
            fingerprint=trained.producer.fingerprint,
            trained_on=lesson.home,
            dataset=str(version),
            targets=str(targets),
            method=exam.method.name,
            labels=exam.method.fingerprint,
            output=exam.output,
            same_teacher=not differs,
            differs=differs,
            pairs=int((~is_seen).sum()),
            seen=int(is_seen.sum()),
            card=cards(held_out, [network], settings, seed=seed)[network],
            home_verdict=trained.row.verdict,
            home_rank=trained.row.card.get("spearman", {}).get("mean"),
        )
        run.report(report.facts(), {})
    return report


def _judged(
    store: Store, trained: Trained, lesson: Learned, asked: _Labels, exam: _Exam, seed: int
) -> tuple[Flags, HeldOut]:
    """Which of the pairs asked it has seen, and what it and the baselines say of them."""
    if lesson.pairs is None:
        known = np.isin(asked.sids, lesson.samples)
        is_seen: Flags = known[asked.pairs.targets] | known[asked.pairs.sources]
        _check_enough(asked.pairs, is_seen, exam)
        fresh, network = asked.pairs.take(~is_seen), trained.row.network
        file = trained.open(store)
        return is_seen, held_out_of_pulled(network, file, fresh, asked.features, seed=seed)
    taught = _labels(store, trained, lesson.pairs)
    is_seen = _is_seen(asked, taught)
    _check_enough(asked.pairs, is_seen, exam)
    answers = _predictions(store, trained, taught, asked, seed)
    mean = float(taught.pairs.values.mean())
    return is_seen, _held_out(asked.pairs, mean, is_seen, answers)


def known_transfer(store: Store, trained: Trained, dataset: str) -> dict[str, Any] | None:
    """Facts of the newest finished `evaluate` of `trained` on any version of `dataset`, if any."""
    with store.database.read() as session:
        query = select(Run).where(Run.verb == VERB, Run.state == "committed")
        for run in session.exec(query.order_by(col(Run.started_at).desc())).all():
            on, _, _ = run.params["dataset"].partition("@")
            if on == dataset and run.params["estimator"] == trained.producer.fingerprint:
                return dict(run.result)
    return None


@dataclass(frozen=True)
class _Exam:
    """Labels of `method`: source, target and value, whatever of them the estimator has seen."""

    version: Version
    targets: Version
    method: Producer
    output: str
    pairs: pl.DataFrame


def _exam(
    store: Store,
    trained: Trained,
    lesson: Learned,
    version: Version,
    targets: Version,
    method: str | None,
    output: str | None,
) -> _Exam:
    """The labels to judge by: of the very teacher if it has any here, else the newest so called."""
    name = method or lesson.method.name
    called = [one for one in store.producers("pairs") if is_called(one, name)]
    own = _teacher(lesson.method)
    for first in sorted(called, key=lambda one: (_teacher(one) == own, one.id), reverse=True):
        pairs = _between(store.pairs(first), version, targets)
        if not pairs.height:
            continue
        known = [one for one in pairs.columns if one not in ("source", "target")]
        wanted = output or (trained.row.output if trained.row.output in known else known[0])
        if wanted not in known:
            raise UsageError(
                f"{first.name} has no output {wanted!r}", hint=f"it has {', '.join(known)}"
            )
        # Files of one teacher are one label set; of a pair in two of them the first fact stands.
        same = [one for one in called if _teacher(one) == _teacher(first)]
        parts = [_between(store.pairs(one), version, targets) for one in same]
        values = pl.concat([_valued(part, wanted) for part in parts if wanted in part.columns])
        once = values.unique(["source", "target"], keep="first", maintain_order=True)
        return _Exam(version, targets, first, wanted, once)
    raise NotComputed(
        f"no labels of {name} between {version} and {targets}",
        hint=_label_hint(name, version, targets),
    )


def _teacher(producer: Producer) -> str:
    """A teacher by what changes its values: which file they were imported from does not."""
    return fingerprint({"name": producer.name, "facts": _facts(producer)})


def _facts(producer: Producer) -> dict[str, Any]:
    return {key: value for key, value in producer.facts.items() if key != "imported"}


def _between(pairs: pl.DataFrame, version: Version, targets: Version) -> pl.DataFrame:
    return pairs.filter(
        pl.col("source").is_in(version.bits.to_array())
        & pl.col("target").is_in(targets.bits.to_array())
    )


def _valued(pairs: pl.DataFrame, output: str) -> pl.DataFrame:
    value = pl.col(output).cast(pl.Float32).fill_null(float("nan")).alias("value")
    return pairs.select("source", "target", value)


@dataclass(frozen=True)
class _Labels:
    """Usable labels as positions in `sids`, and what is known about those samples."""

    sids: Ids
    pairs: SeedPairs
    features: Features


def _labels(store: Store, trained: Trained, frame: pl.DataFrame) -> _Labels:
    """Without pairs that teach nothing, nor pairs whose samples the LLM could not read whole."""
    source, target = frame["source"].to_numpy(), frame["target"].to_numpy()
    sids = np.union1d(source, target)
    _require_features(store, trained, sids)
    names = (*FREE, *(name for name in trained.features if name not in FREE))
    features, whole = gather(store, sids, names, trained.embedder, trained.state)
    rows, columns = np.searchsorted(sids, target), np.searchsorted(sids, source)
    values = np.where(whole[rows] & whole[columns], frame["value"].to_numpy(), np.nan)
    pairs = usable(rows, columns, values, features.block(EMBEDDING))
    return _Labels(sids, pairs, features)


def _require_features(store: Store, trained: Trained, sids: Ids) -> None:
    wanted = BitMap(sids.astype(np.uint32))
    for producer, verb in (
        (trained.embedder, "embed D"),
        (trained.state, "label D --method llm-state"),
    ):
        if producer is None:
            continue
        assert producer.id is not None
        if lacking := len(wanted - store.covered(producer.id)):
            raise Incompatible(
                f"{trained.producer.name} reads {producer.name} ({producer.fingerprint[:12]}), "
                f"which {lacking} of {len(sids)} labelled samples do not have",
                hint=f"run: influence-store {verb}, with exactly that model, for the dataset D "
                "that holds them",
            )


def _is_seen(asked: _Labels, taught: _Labels) -> Flags:
    """Which pairs have a sample that was taught, or one as good as it, on either side."""
    distance = distance_to_nearest(
        asked.features.block(EMBEDDING), taught.features.block(EMBEDDING)
    )
    known = np.isin(asked.sids, taught.sids) | (distance < 1.0 - NEAR_DUPLICATE)
    seen: Flags = known[asked.pairs.targets] | known[asked.pairs.sources]
    return seen


def _check_enough(asked: SeedPairs, is_seen: Flags, exam: _Exam) -> None:
    """Intervals are over targets: with a handful of them nothing can be said."""
    fresh = asked.take(~is_seen)
    zeros = np.zeros(len(fresh), np.int64)
    judged = Pairs(fresh.values, fresh.values, fresh.targets, fresh.sources, zeros)
    ranked = sum(len(rows) for rows in judged.ranked_rows())
    if ranked < MIN_TARGETS:
        raise InputError(
            f"{counted(ranked, 'target has', 'targets have')} 3 sources to be ranked by, "
            f"expected {MIN_TARGETS}: "
            f"{counted(len(asked), 'label')} between {exam.version} and {exam.targets}, "
            f"{int(is_seen.sum())} of them of samples it was taught on",
            hint=_label_hint(exam.method.name, exam.version, exam.targets),
        )


def _predictions(
    store: Store, trained: Trained, taught: _Labels, asked: _Labels, seed: int
) -> dict[str, Gains]:
    """What the estimator and every baseline say of the pairs asked, by name."""
    features, rows, columns = asked.features, asked.pairs.targets, asked.pairs.sources
    answers: dict[str, Gains] = {}
    for name, fit in _BASELINES.items():
        baseline = fit(taught.pairs, taught.features, seed=seed)
        answers[name] = predict_pairs(baseline, features, rows, columns)
    unit = Unit(0, features.block(EMBEDDING).shape[1])(features.block(EMBEDDING).astype(float))
    answers[RAW_COSINE] = np.einsum("kd,kd->k", unit[rows], unit[columns])
    answers[trained.row.network] = _estimates(store, trained, asked)
    return answers


def _estimates(store: Store, trained: Trained, asked: _Labels) -> Gains:
    """By the stored file itself, not by a refit."""
    estimator = trained.open(store)
    read = asked.features.select(trained.features)
    estimator.check(read, block_fingerprints(trained.features, trained.embedder, trained.state))
    rows, row = np.unique(asked.pairs.targets, return_inverse=True)
    columns, column = np.unique(asked.pairs.sources, return_inverse=True)
    matrix = estimator.influence(
        estimator.target_vectors(read)[rows], estimator.source_vectors(read)[columns]
    )
    values: Gains = matrix[row, column].astype(np.float64)
    return values


def _held_out(
    asked: SeedPairs, mean: float, is_seen: Flags, answers: Mapping[str, Gains]
) -> HeldOut:
    judged, predicted = {}, {}
    for kind, which in (("Q4", ~is_seen), (SEEN, is_seen)):
        part = asked.take(which)
        level, one_fold = np.full(len(part), mean), np.zeros(len(part), np.int64)
        judged[kind] = Pairs(part.values, level, part.targets, part.sources, one_fold)
        predicted[kind] = {name: values[which] for name, values in answers.items()}
    return HeldOut(judged, predicted)


def _differing(teacher: Producer, exam: _Exam, output: str) -> tuple[str, ...]:
    """In what the labels are not those of the teacher; empty if they are."""
    if _teacher(teacher) == _teacher(exam.method):
        return () if output == exam.output else ("output",)
    ours, theirs = _facts(teacher), _facts(exam.method)
    facts = [key for key in sorted({*ours, *theirs}) if ours.get(key) != theirs.get(key)]
    return (*(["method"] if teacher.name != exam.method.name else []), *facts)


def _label_hint(method: str, version: Version, targets: Version) -> str:
    if method not in METHODS.entries():
        return f"import more scores of {method}: influence-store import"
    return (
        f"run: influence-store label {version} --targets {targets} --method {method} --model M "
        "--pairs 2000"
    )
