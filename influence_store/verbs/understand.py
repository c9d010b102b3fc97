"""Why this selection, what would more budget buy, and can it be made again?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from influence_store.errors import UsageError
from influence_store.options import Whole
from influence_store.shell import SEED, Context, emit_facts, emit_report, verb, writing_verb


@verb
@click.argument("selection")
@click.argument("samples", nargs=-1, required=True, metavar="SAMPLE...")
@click.option(
    "--top",
    type=Whole(min=0),
    default=3,
    show_default=True,
    help="Targets, twins, rivals.",
)
def explain(ctx: Context, selection: str, samples: tuple[str, ...], top: int) -> None:
    """Why each SAMPLE is in the SELECTION or not; ids or their unique beginnings.

    \b
    influence-store explain 3f2a 9c1e 07bd
    """
    from influence_store.jobs.explain import explain as job

    emit_report(ctx, job(ctx.open(), selection, samples, top=top))


@verb
@click.argument("of", metavar="SELECTION|DATASET")
@click.option("--target", "targets", multiple=True, metavar="D[@V]", help="Two of them.")
@click.option("--budget", help="With targets: 500, 10%.")
@click.option("--kernel", help="With targets: as in select.")
@click.option("--accept-weak", is_flag=True, help="Use an estimator whatever its verdict.")
@click.option("--steps", type=Whole(min=2), default=11, show_default=True, help="Weights.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the random sets.")
def frontier(
    ctx: Context,
    of: str,
    targets: tuple[str, ...],
    budget: str | None,
    kernel: str | None,
    accept_weak: bool,
    steps: int,
    seed: int,
) -> None:
    """What more budget buys (of a SELECTION), or what one target costs another (of a DATASET).

    \b
    influence-store frontier 3f2a
    influence-store frontier pool --target maths --target chat --budget 10%
    """
    store = ctx.open()
    if not targets:
        from influence_store.jobs.frontier import frontier as job

        if budget or kernel or accept_weak:
            raise UsageError(
                "--budget, --kernel and --accept-weak are for two targets",
                hint="influence-store frontier D --target A --target B --budget 10%",
            )
        emit_report(ctx, job(store, of))
        return
    from influence_store.jobs.tradeoff import two_targets

    if budget is None:
        raise UsageError("two targets need a --budget", hint="e.g. --budget 10%")
    emit_report(
        ctx,
        two_targets(
            store,
            store.version(of),
            [store.version(one) for one in targets],
            budget,
            kernel=kernel,
            accept_weak=accept_weak,
            seed=seed,
            steps=steps,
        ),
    )


@writing_verb
@click.argument("selection")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("selection.lock"),
    show_default=True,
    help="The file to write.",
)
def receipt(ctx: Context, selection: str, out: Path) -> None:
    """Write all that decides a SELECTION, and its sample ids, to a file that can be verified."""
    from influence_store.jobs.receipts import write_receipt

    report = write_receipt(ctx.open(), selection, ctx.folder_for(out))
    emit_report(ctx, replace(report, path=str(out)))


@writing_verb
@click.argument("dataset", metavar="DATASET[@V]")
@click.option("--selection", metavar="ID", help="Default: the newest of the dataset.")
@click.option("--by", metavar="COLUMN", help="For examples and map. Default: most values.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="The file to write.",
)
@click.option(
    "--points",
    type=Whole(1, 20_000),
    default=20_000,
    show_default=True,
    help="At most so many on the map.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Draws them.")
@click.option("--overwrite", is_flag=True, help="Also a file that is not a report.")
@click.option(
    "--atlas",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Also pages of Embedding Atlas, if it is installed, into a new folder.",
)
def report(
    ctx: Context,
    dataset: str,
    selection: str | None,
    by: str | None,
    out: Path,
    points: int,
    seed: int,
    overwrite: bool,
    atlas: Path | None,
) -> None:
    """One HTML file on a dataset version: contents, influence, accuracy, cost, selection, map.

    It is whole in itself: it loads nothing and sends nothing. An older report is replaced.

    \b
    influence-store report support
    influence-store report support@1 --selection 3f2a --by inf_ifd -o support.html
    """
    from influence_store.jobs.atlas import atlas as walk
    from influence_store.jobs.atlas import check_atlas
    from influence_store.jobs.report import report as job
    from influence_store.report.publish import check_free

    check_free(out, overwrite=overwrite)
    if atlas is not None:
        check_atlas(atlas)
    store = ctx.open_to_read()
    made = job(
        store,
        store.version(dataset),
        ctx.folder_for(out),
        selection=selection,
        by=by,
        points=points,
        seed=seed,
        overwrite=overwrite,
    )
    told = replace(made, path=str(out))
    if atlas is None:
        emit_report(ctx, told)
        return
    there = ctx.folder_for(atlas)
    pages = replace(
        walk(store, store.version(dataset), there, selection=selection), path=str(atlas)
    )
    emit_facts(ctx, {**told.facts(), "atlas": pages.facts()}, [*told.lines(), *pages.lines()])
