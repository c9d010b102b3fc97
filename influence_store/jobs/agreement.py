"""`label … --again`: how far does the teacher agree with itself, and with other teachers?

Known pairs are asked a second time with another batch plan, base passes included. A value is a
fact, so the second one is not stored as a label: what is kept is how far the two agree, with the
run. Label sets of the same method by another model, revision, template or cut that share pairs
are compared as well, at no cost.
"""

from __future__ import annotations

import inspect
import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from pyroaring import BitMap
from sqlmodel import col, select

from influence_store.counted import counted
from influence_store.errors import NotComputed, UsageError
from influence_store.influence import METHODS
from influence_store.jobs.cells import content_ids
from influence_store.jobs.label_sets import agreements, compare_label_sets, known_labels
from influence_store.jobs.methods import Workshop
from influence_store.jobs.samples import read_samples
from influence_store.progress import progress
from influence_store.schema.catalog import Run
from influence_store.schema.identity import content_order

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.jobs.label_sets import LabelSet
    from influence_store.jobs.methods import ModelChoice
    from influence_store.network.agreement import Agreement
    from influence_store.protocols import Ids, PairwiseInfluence
    from influence_store.schema.catalog import Producer
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

VERB = "agreement"
#: Settings that change how a value is computed and must not change the value.
OTHER_PLAN = {"batch_tokens": "192", "prefix_cache": "false"}
#: Sources per target that are asked again: enough to rank, few enough for many targets.
_PER_TARGET = 10
_MIN_PAIRS = 20


@dataclass(frozen=True)
class AgreementReport:
    """`outputs` compares the second asking with the stored labels, `others` other label sets."""

    dataset: str
    targets: str
    method: str
    fingerprint: str
    plan: Mapping[str, Any]
    asked: int
    outputs: Mapping[str, Agreement]
    others: tuple[LabelSet, ...]
    llm_passes: int
    llm_tokens: int
    seconds: float

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        outputs = {name: one.facts() for name, one in self.outputs.items()}
        others = [one.facts() for one in self.others]
        return {**vars(self), "plan": dict(self.plan), "outputs": outputs, "others": others}

    def lines(self) -> list[str]:
        """For people: the noise ceiling of each output, then the other teachers."""
        plan = ", ".join(f"{name} {value}" for name, value in self.plan.items())
        told = [
            f"{self.method}: {counted(self.asked, 'known pair')} of {self.dataset} × "
            f"{self.targets} asked again{f' ({plan})' if plan else ''}; the labels stay as they are"
        ]
        for name, one in self.outputs.items():
            told.append(f"  {name}: {one.line()}")
            if one.spearman_ceiling is not None:
                told.append(
                    f"    ceiling for any estimator: rank ρ {one.spearman_ceiling:.3f}, "
                    f"R² {one.r2_ceiling:.3f}"
                )
        told += [line for other in self.others for line in other.lines()]
        spent = (
            f"{counted(self.llm_passes, 'LLM pass')}, {counted(self.llm_tokens, 'token')}, "
            f"{self.seconds:.0f} s"
        )
        return [*told, f"  {spent}"]


def label_again(
    store: Store,
    version: Version,
    targets: Version,
    name: str,
    choice: ModelChoice,
    *,
    pairs: int = 200,
) -> AgreementReport:
    """`measure_agreement` of the method called `name`, with `choice` but another batch plan.

    UsageError if it is not pairwise.
    """
    method_class = METHODS.get(name)
    if method_class.spec.kind != "pairwise":
        raise UsageError(
            f"--again asks about pairs a second time; {name} is {method_class.spec.kind}",
            hint="leave it out",
        )
    taken = inspect.signature(method_class).parameters
    plan = {setting: value for setting, value in OTHER_PLAN.items() if setting in taken}
    choice = replace(choice, settings={**choice.settings, **plan})
    (method,) = Workshop(store, version, targets, choice).methods([name])
    return measure_agreement(
        store, version, targets, method, pairs=pairs, seed=choice.seed, plan=plan
    )


def measure_agreement(
    store: Store,
    version: Version,
    targets: Version,
    method: PairwiseInfluence[Any],
    *,
    pairs: int = 200,
    seed: int,
    plan: Mapping[str, Any] | None = None,
) -> AgreementReport:
    """Ask `method` about `pairs` known pairs again and compare with the stored labels.

    `method` has the facts of the stored labels and computes otherwise, as `plan` says in words.
    NotFound if the store holds no labels of exactly this method between these versions,
    UsageError for fewer than 20 pairs.
    """
    if pairs < _MIN_PAIRS:
        raise UsageError(
            f"{counted(pairs, 'pair')} asked again, expected at least {_MIN_PAIRS}: "
            "fewer tell nothing",
            hint="say --again 200",
        )
    began = time.monotonic()
    producer = store.find_producer("pairs", method.spec.name, method.facts)
    known = pl.DataFrame()
    if producer is not None:
        known = known_labels(store, producer, version, targets).drop_nulls()
    if producer is None or not known.height:
        raise NotComputed(
            f"no labels of {method.spec.name} with this model, template and cut between "
            f"{version} and {targets}",
            hint=f"run: influence-store label {version} --method {method.spec.name} --model M "
            f"--targets {targets} --pairs 2000",
        )
    scope = f"{VERB}:{producer.fingerprint}:{version.dataset}:{targets.dataset}"
    params = {"sources": str(version), "targets": str(targets), "pairs": pairs, "seed": seed}
    with store.claim(VERB, scope, params) as run:
        before = method.ledger.facts()
        chosen = _draw(store, known, pairs, seed)
        again = _asked_again(store, method, chosen)
        spent = {name: count - before[name] for name, count in method.ledger.facts().items()}
        report = AgreementReport(
            dataset=str(version),
            targets=str(targets),
            method=producer.name,
            fingerprint=producer.fingerprint,
            plan=dict(plan or {}),
            asked=chosen.height,
            outputs=agreements(chosen, again, seed=seed),
            others=tuple(compare_label_sets(store, version, targets, producer, seed=seed)),
            llm_passes=spent["llm_passes"],
            llm_tokens=spent["llm_tokens"],
            seconds=time.monotonic() - began,
        )
        run.report(report.facts(), {**spent, "seconds": report.seconds})
    return report


def known_agreement(store: Store, producer: Producer) -> dict[str, Any] | None:
    """The newest report about the labels of `producer`, as `AgreementReport.facts`; None if none.

    `["outputs"][output]["spearman_ceiling"]` is what its imitators cannot surpass.
    """
    with store.database.read() as session:
        run = session.exec(
            select(Run)
            .where(
                Run.verb == VERB,
                Run.state == "committed",
                col(Run.scope).startswith(f"{VERB}:{producer.fingerprint}:"),
            )
            .order_by(col(Run.started_at).desc())
        ).first()
        return dict(run.result) if run is not None else None


def _draw(store: Store, known: pl.DataFrame, pairs: int, seed: int) -> pl.DataFrame:
    """About `pairs` known pairs: targets at random, each with the same few sources if it has them.

    One random order of the sources serves all targets, so that a source is read once for many.
    """
    per_target = max(_PER_TARGET, math.ceil(pairs / known["target"].n_unique()))
    for side in ("target", "source"):
        sids = known[side].unique().sort().to_numpy()
        order = content_order(content_ids(store, sids), seed, f"{VERB}-{side}")
        turn = pl.DataFrame({side: sids[order], f"{side}_turn": np.arange(len(sids))})
        known = known.join(turn, on=side)
    return (
        known.sort("target_turn", "source_turn")
        .group_by("target", maintain_order=True)
        .head(per_target)
        .head(pairs)
        .drop("target_turn", "source_turn")
    )


def _asked_again(
    store: Store, method: PairwiseInfluence[Any], chosen: pl.DataFrame
) -> pl.DataFrame:
    """The same pairs with new values, from base passes on."""
    rows, samples = _samples(store, chosen["target"])
    state = method.prepare(samples)
    sources, source_samples = _samples(store, chosen["source"])
    parts = []
    with progress("asking again", chosen.height, "pairs") as advance:
        for source, sample in zip(sources.tolist(), source_samples, strict=True):
            targets = chosen.filter(pl.col("source") == source)["target"].to_numpy()
            values = method.score(state, sample, np.searchsorted(rows, targets))
            parts.append(pl.DataFrame({"source": source, "target": targets, **values}))
            advance(len(targets))
    return pl.concat(parts)


def _samples(store: Store, sids: pl.Series) -> tuple[Ids, list[Any]]:
    """Distinct sids, ascending, and their samples."""
    return read_samples(store, BitMap(sids.unique().to_numpy().astype(np.uint32)))
