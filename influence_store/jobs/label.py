"""`label`: ask a real model about samples or pairs; every value is a fact, kept forever.

names → methods (model, checkpoints, targets as each needs) → rows or pairs that are not known
yet → published as they are measured
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from influence_store.counted import counted
from influence_store.errors import UsageError
from influence_store.execution import LOCAL
from influence_store.influence import METHODS
from influence_store.influence.design import COMPLETE
from influence_store.jobs.active import ACTIVE, ActiveReport, label_active
from influence_store.jobs.agreement import AgreementReport, label_again
from influence_store.jobs.budget import Budget, parse_share
from influence_store.jobs.label_pairs import PairsReport, check_design, label_pairs
from influence_store.jobs.label_plan import plan
from influence_store.jobs.label_rows import (
    Column,
    columns_of,
    row_order,
)
from influence_store.jobs.label_shards import MethodsAt, check_sendable
from influence_store.jobs.llm_state import KIND, StateReport, label_states
from influence_store.jobs.measure_rows import RowsAtWork, all_of
from influence_store.jobs.methods import ModelChoice, Workshop
from influence_store.jobs.reduce import reduce_to_targets
from influence_store.schema.identity import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from influence_store.execution import Executor
    from influence_store.jobs.cost import CostPlan
    from influence_store.store.store import Store
    from influence_store.store.versions import Version


@dataclass(frozen=True)
class RowsReport:
    """`columns` say, per method, what was scored, reused and null; `reduced` names the outputs
    that tell how much each row helps the targets.
    """

    dataset: str
    targets: str | None
    rows: int
    columns: tuple[dict[str, Any], ...]
    reduced: tuple[str, ...]
    notes: tuple[str, ...]
    llm_passes: int
    llm_tokens: int
    seconds: float
    cpu_seconds: float

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        lists = {name: list(getattr(self, name)) for name in ("columns", "reduced", "notes")}
        return {**vars(self), **lists}

    def lines(self) -> list[str]:
        """For people: what the model was asked and what it cost."""
        told = [f"{self.dataset}: {counted(self.rows, 'row')}"]
        told += [f"  {note}" for note in self.notes]
        told += [_line(column) for column in self.columns]
        if self.reduced:
            told.append(f"  help for {self.targets}: {', '.join(self.reduced)}")
        passes = f"{counted(self.llm_passes, 'model pass')}, {counted(self.llm_tokens, 'token')}"
        return [*told, f"  {passes}, {self.seconds:.0f} s", *self._next()]

    def _next(self) -> list[str]:
        outputs = [
            name
            for column in self.columns
            if column["kind"] == "points"
            for name in column["outputs"][:1]
        ]
        shown = [*self.reduced[:1], *outputs]
        if not shown:
            return []
        name, _, _ = self.dataset.partition("@")
        column = "inf_" + shown[0].replace("-", "_")
        sql = f"select sample_id, {column} from {name} order by 2 desc limit 5"
        return [f'  next: influence-store query "{sql}"']


def label(
    store: Store,
    version: Version,
    names: Sequence[str],
    choice: ModelChoice,
    budget: Budget,
    *,
    targets: Version | None = None,
    subtask_by: str | None = None,
    design: str = COMPLETE,
    plan_only: bool = False,
    executor: Executor = LOCAL,
) -> PairsReport | ActiveReport | RowsReport | CostPlan:
    """Measure the methods called `names` on `version`, as far as `budget` goes.

    Pointwise methods give one number per row; bilinear ones a vector per row and, with `targets`,
    the help for them; a pairwise method is asked about a seed of pairs, laid out by `design`. What
    is known already, from any run or dataset, is not asked again; what does not fit the model is
    null, never cut. `plan_only` measures what it would cost and writes nothing. UsageError for
    what an `executor` elsewhere cannot do.
    """
    if executor.elsewhere:
        check_sendable(names, active=design == ACTIVE)
    kinds = [METHODS.get(name).spec.kind for name in names]
    pairwise = "pairwise" in kinds
    budget.check(pairs=pairwise)
    if pairwise and len(names) > 1:
        raise UsageError("a pairwise method is labelled by itself", hint="one --method a time")
    if design != COMPLETE and not pairwise:
        raise UsageError(
            "--design lays out pairs; these methods ask about rows", hint="leave --design out"
        )
    if subtask_by is not None and (targets is None or "bilinear" not in kinds):
        raise UsageError("--subtasks divides the targets of a bilinear method", hint="--targets D")
    check_design(design, ACTIVE)
    workshop = Workshop(store, version, targets, choice)
    if plan_only:
        return plan(
            store, version, workshop, names, budget, choice.seed, targets=targets, design=design
        )
    methods = workshop.methods(names)
    if pairwise and design == ACTIVE:
        return label_active(store, version, targets or version, methods[0], budget, choice.seed)
    at = MethodsAt.of(names, str(version), choice, workshop.device)
    if pairwise:
        return label_pairs(
            store,
            version,
            targets or version,
            methods[0],
            budget,
            choice.seed,
            design=design,
            executor=executor,
            sent=at,
        )
    return _label_rows(store, version, workshop, methods, budget, at, targets, subtask_by, executor)


def label_by_options(
    store: Store,
    dataset: str,
    *,
    methods: Sequence[str],
    targets: str | None,
    subtasks: str | None,
    plan_only: bool,
    model: str | None,
    max_response_tokens: int | None,
    max_tokens: int | None,
    warmup: str,
    settings: Mapping[str, str],
    seed: int,
    cache: Path,
    design: str | None = None,
    again: int | None = None,
    executor: Executor = LOCAL,
    **how_much: Any,
) -> PairsReport | ActiveReport | RowsReport | CostPlan | StateReport | AgreementReport:
    """`label` as the command line says it; `llm-state` is the one column without a budget."""
    names = tuple(methods) or ("delift",)
    version = store.version(dataset)
    served = store.version(targets) if targets else None
    if names == (KIND,):
        if plan_only or any(how_much.values()):
            raise UsageError(
                f"{KIND} reads every row that lacks it: no --plan and no budget apply",
                hint=f"influence-store label {dataset} --method {KIND} --model M",
            )
        return label_states(
            store,
            version,
            _model_of(model),
            cache=cache,
            max_response_tokens=max_response_tokens,
            max_len=max_tokens,
        )
    choice = ModelChoice(
        model, cache, max_response_tokens, max_tokens, settings, parse_share(warmup), seed
    )
    if again is not None:
        if plan_only or design or any(how_much.values()) or len(names) > 1:
            raise UsageError(
                "--again asks one method about pairs that are known; no --plan, --design or budget",
                hint=f"influence-store label {dataset} --method {names[0]} --model M --again 200",
            )
        return label_again(store, version, served or version, names[0], choice, pairs=again)
    return label(
        store,
        version,
        names,
        choice,
        Budget.of(**how_much),
        targets=served,
        subtask_by=subtasks,
        design=design or COMPLETE,
        plan_only=plan_only,
        executor=executor,
    )


def _model_of(model: str | None) -> str:
    if model is None:
        raise UsageError(f"{KIND} asks a model", hint="say which: --model PATH")
    return model


def _label_rows(
    store: Store,
    version: Version,
    workshop: Workshop,
    methods: Sequence[Any],
    budget: Budget,
    at: MethodsAt,
    targets: Version | None,
    subtask_by: str | None,
    executor: Executor,
) -> RowsReport:
    began, cpu_began = time.monotonic(), time.process_time() + executor.taken.cpu
    seed = at.choice.seed
    deadline = began + 60 * budget.minutes if budget.minutes is not None else None
    columns = columns_of(store, methods)
    rows = row_order(store, version, seed)[: budget.n_rows(len(version.bits))]
    asked = [*columns.points, *columns.sources]
    scope = fingerprint({"producers": [c.producer.fingerprint for c in asked]})
    params = {"dataset": str(version), "methods": [m.spec.name for m in methods], "seed": seed}
    with store.claim("label", f"label:{scope}:{version.dataset}", params) as run:
        work = RowsAtWork(store, run, all_of(columns), at, executor)
        work.fill(asked, rows, deadline)
        reduced: list[str] = []
        if targets is not None and columns.targets:
            work.fill(columns.targets, row_order(store, targets, seed))
            for column, aim in zip(columns.sources, columns.targets, strict=True):
                made = reduce_to_targets(
                    store,
                    run,
                    column.spec,
                    column.producer,
                    aim.producer,
                    targets,
                    version.bits,
                    subtask_by=subtask_by,
                )
                reduced.append(made.name)
        report = RowsReport(
            dataset=str(version),
            targets=str(targets) if targets else None,
            rows=len(rows),
            columns=tuple(column.facts() for column in _distinct([*asked, *columns.targets])),
            reduced=tuple(reduced),
            notes=tuple(workshop.notes),
            llm_passes=work.spent.get("llm_passes", 0),
            llm_tokens=work.spent.get("llm_tokens", 0),
            seconds=time.monotonic() - began,
            cpu_seconds=time.process_time() + executor.taken.cpu - cpu_began,
        )
        run.report(report.facts(), work.spent)
    return report


def _distinct(columns: Sequence[Column]) -> list[Column]:
    """Those that were asked for anything: target columns only when there were targets."""
    return [column for column in columns if column.scored or column.reused]


def _line(column: dict[str, Any]) -> str:
    reasons = {
        "truncated": "too long for the model",
        "empty": "nothing to score",
        "undefined": "undefined by the method",
    }
    nulls = [f"{column[name]:,} null ({why})" for name, why in reasons.items() if column[name]]
    known = f"{column['reused']:,} known already"
    return "  " + ", ".join([f"{column['name']}: {column['scored']:,} scored", *nulls, known])
