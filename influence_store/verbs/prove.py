"""Was it worth it? Train on a selection and on cheaper rivals, and compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from influence_store.errors import UsageError
from influence_store.options import Number, Whole
from influence_store.settings import cache_dir
from influence_store.shell import SEED, Context, emit_report, key_values, writing_verb

if TYPE_CHECKING:
    from collections.abc import Callable

    from influence_store.jobs.trial_learners import Learner
    from influence_store.store.store import Store

# Written out, since the help of a verb must not import what the verb needs.
ARMS = ("random", "length", "top", "cosine-fl", "full", "full-epoch", "untrained")
TUNES = ("lora", "ia3", "prompt", "full")


@writing_verb
@click.argument("dataset")
@click.option("--selection", "selections", multiple=True, metavar="ID", help="Repeat for several.")
@click.option("--model", help="Folder, .gguf file or hub id of the LLM to fine-tune.")
@click.option("--probe", is_flag=True, help="Instead a linear probe on embeddings: seconds.")
@click.option("--holdout", metavar="D[@V]", help="Judge by its rows; default: by rows not chosen.")
@click.option("--held-out", type=Whole(min=1), default=200, show_default=True, help="Rows.")
@click.option(
    "--arms", help="Comma-separated, of: " + ", ".join(ARMS) + "; default: the first five."
)
@click.option("--seeds", type=Whole(1, 1000), default=3, show_default=True, help="Runs.")
@click.option("--random", type=Whole(1, 100), default=3, show_default=True, help="Sets per seed.")
@click.option(
    "--tune", type=click.Choice(TUNES), default="lora", show_default=True, help="What is trained."
)
@click.option(
    "--epochs",
    type=Number(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Budget of every arm: so often the tokens of the largest selection.",
)
@click.option("--tokens", type=Whole(min=1), help="Or so many tokens.")
@click.option("--max-tokens", type=Whole(min=2), default=512, show_default=True, help="Per sample.")
@click.option(
    "--generate",
    type=Whole(min=0),
    default=0,
    show_default=True,
    help="Answer so many held-out rows in words: ROUGE-L, exact match.",
)
@click.option("--answer-tokens", type=Whole(min=1), default=128, show_default=True, help="At most.")
@click.option("--keep-leaks", is_flag=True, help="Judge also by rows of which the pool has copies.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="E.g. rank=8, learning_rate=2e-4",
)
@click.option("--show", is_flag=True, help="Only tell what the trials of DATASET found so far.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="The first of the seeds.")
def trial(ctx: Context, dataset: str, holdout: str | None, **options: Any) -> None:
    """Fine-tune a small model on selections of DATASET[@VERSION] and on rivals; say who wins.

    \b
    influence-store trial demo --selection 7a0c --model M --holdout exam
    influence-store trial demo --selection 7a0c --selection 91fe --probe --seeds 5
    influence-store trial demo --selection 7a0c --model M --arms random,untrained --plan
    """
    if options.pop("show"):
        from influence_store.jobs.trial_past import past_trials

        store = ctx.open_to_read()
        emit_report(ctx, past_trials(store, store.version(dataset)))
        return
    from influence_store.jobs.trial import trial as job
    from influence_store.jobs.trial_setup import TrialOptions

    arms = _arms(options["arms"])
    open_learner = _learner(dataset, options)
    if not options["selections"]:
        raise UsageError(
            "which selection is to be tried?",
            hint='say --selection ID; see: influence-store query "select id from selections"',
        )
    asked = TrialOptions(
        selections=options["selections"],
        **({"arms": arms} if arms else {}),
        runs=options["seeds"],
        draws=options["random"],
        held_out=options["held_out"],
        epochs=options["epochs"],
        tokens=options["tokens"],
        keep_leaks=options["keep_leaks"],
        seed=options["seed"],
    )
    store = ctx.open()
    judge = store.version(holdout) if holdout else None
    told = job(store, store.version(dataset), asked, open_learner, judge, plan_only=ctx.dry_run)
    emit_report(ctx, told)


def _arms(text: str | None) -> tuple[str, ...]:
    """The baselines that were named; none = the usual ones."""
    named = tuple(dict.fromkeys(one.strip() for one in text.split(","))) if text else ()
    if unknown := [one for one in named if one not in ARMS]:
        raise UsageError(f"there is no arm {unknown[0]!r}", hint=f"known: {', '.join(ARMS)}")
    return named


def _learner(dataset: str, options: dict[str, Any]) -> Callable[[Store], Learner]:
    """How to open what is to learn; UsageError unless a model or the probe was asked for."""
    model, settings = options["model"], key_values(options["settings"], "--set")
    if options["probe"] == bool(model):
        raise UsageError(
            "what is to learn from the rows?",
            hint="say either --model FOLDER, to fine-tune it, or --probe",
        )
    if options["probe"]:
        if settings or options["generate"]:
            raise UsageError("the probe takes neither --set nor --generate", hint="leave them out")
        return lambda store: _probe(store, dataset)
    from influence_store.trial.recipe import Recipe

    recipe = Recipe.of(options["tune"], settings)

    def fine_tuner(store: Store) -> Learner:
        from influence_store.influence.llm import load_llm
        from influence_store.jobs.trial_learners import FineTuner

        return FineTuner(
            store,
            load_llm(model, cache=cache_dir()),
            recipe,
            max_tokens=options["max_tokens"],
            answers=options["generate"],
            answer_tokens=options["answer_tokens"],
        )

    return fine_tuner


def _probe(store: Store, dataset: str) -> Learner:
    from influence_store.embedding import open_embedder
    from influence_store.jobs.trial_learners import Probe, embedder_of

    source = embedder_of(store, store.version(dataset))
    return Probe(store, open_embedder(source, cache=cache_dir()))
