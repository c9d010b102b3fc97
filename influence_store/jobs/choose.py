"""`select` as the command line says it: a set function on a kernel, or a selector on columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from influence_store.errors import UsageError
from influence_store.jobs.methods import parsed
from influence_store.jobs.pick import Columns, pick
from influence_store.jobs.select import SelectReport, select
from influence_store.selection import SELECTORS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.store.store import Store


def choose(
    store: Store,
    dataset: str,
    *,
    budget: str,
    objective: str | None,
    settings: Mapping[str, str],
    seed: int,
    kernel: str | None = None,
    target: str | None = None,
    given: str | None = None,
    accept_weak: bool = False,
    by: str | None = None,
    like: str | None = None,
    vectors: str | None = None,
) -> SelectReport:
    """UsageError for an option that the other kind of selection takes."""
    version = store.version(dataset)
    of_kernel = {"--kernel": kernel, "--target": target, "--accept-weak": accept_weak or None}
    of_columns = {"--by": by, "--like": like, "--vectors": vectors, "--set": settings or None}
    selects = objective in SELECTORS.entries()
    foreign = of_kernel if selects else of_columns
    if strange := [option for option, value in foreign.items() if value is not None]:
        raise UsageError(
            f"{strange[0]} means nothing to {objective or 'a set function'}",
            hint="see: influence-store select --help",
        )
    base = store.version(given) if given else None
    if selects:
        assert objective is not None
        return pick(
            store,
            version,
            budget,
            objective,
            columns=Columns(by, like, vectors),
            options={name: parsed(text) for name, text in settings.items()},
            given=base,
            seed=seed,
        )
    return select(
        store,
        version,
        budget,
        objective=objective,
        kernel=kernel,
        target=store.version(target) if target else None,
        given=base,
        accept_weak=accept_weak,
        seed=seed,
    )
