"""What do estimators learn from that, and can they be believed?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from influence_store.shell import (
    SEED,
    Context,
    emit_facts,
    emit_report,
    on_an_engine,
    verb,
    writing_verb,
)

if TYPE_CHECKING:
    pass


@writing_verb
@click.argument("dataset")
@click.option("--method", default="delift", show_default=True, help="The teacher to imitate.")
@click.option("--output", help="Which of its outputs; default: the first.")
@click.option("--network", "networks", multiple=True, help="Candidate; repeat for several.")
@click.option(
    "--features",
    type=click.Choice(["free", "llm"]),
    default="free",
    show_default=True,
    help="llm costs one LLM pass for every row to be filled.",
)
@click.option("--targets", metavar="D[@V]", help="The label's target dataset.")
@click.option("--name", help="Name of the estimator; default: the output's name.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of everything random.")
def train(ctx: Context, dataset: str, targets: str | None, method: str, **options: Any) -> None:
    """Learn an estimator from the labels, judge it on held-out samples, store it as ONNX."""
    from influence_store.jobs.train import train as job
    from influence_store.jobs.train_report import TrainOptions

    store = ctx.open()
    version = store.version(dataset)
    served = store.version(targets) if targets else version
    emit_report(ctx, job(store, version, served, method, TrainOptions(**options)))


@writing_verb
@click.argument("dataset")
@click.option("--estimator", help="Name or fingerprint; default: the newest.")
@on_an_engine
def fill(ctx: Context, dataset: str, estimator: str | None, **engine: Any) -> None:
    """Estimate the influence of every row of DATASET that has none yet."""
    from influence_store.jobs.drift import measure_drift
    from influence_store.jobs.estimators import find_estimator
    from influence_store.jobs.fill import fill as job

    store = ctx.open()
    version, trained = store.version(dataset), find_estimator(store, estimator)
    if ctx.dry_run:
        from influence_store.jobs.column_plan import plan_fill

        emit_report(ctx, plan_fill(store, version, trained))
        return
    report = job(store, version, trained, ctx.executor(**engine))
    drift = measure_drift(store, version, trained)
    facts = {**report.facts(), "drift": drift.facts() if drift else None}
    emit_facts(ctx, facts, [*report.lines(), *(drift.lines() if drift else [])])


@verb
@click.argument("estimator", required=False)
def card(ctx: Context, estimator: str | None) -> None:
    """How good is ESTIMATOR (default: the newest)? Its accuracy card, and what was found since."""
    from influence_store.jobs.card import card as job

    emit_report(ctx, job(ctx.open(), estimator))


@writing_verb
@click.argument("estimator")
@click.option("--on", "dataset", required=True, metavar="D[@V]", help="Whose labels judge it.")
@click.option("--targets", metavar="D[@V]", help="The labels' target dataset; default: D.")
@click.option("--method", help="Other labels than those of its teacher.")
@click.option("--output", help="Another of their outputs.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the intervals.")
def evaluate(
    ctx: Context, estimator: str, dataset: str, targets: str | None, **options: Any
) -> None:
    """Does ESTIMATOR rank another dataset as its teacher does there? Measured on labels."""
    from influence_store.jobs.evaluate import evaluate as job

    store = ctx.open()
    version = store.version(dataset)
    served = store.version(targets) if targets else version
    emit_report(ctx, job(store, estimator, version, served, **options))
