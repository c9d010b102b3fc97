"""`select` as the command line says it: a set function on a kernel, or a selector on columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from influence_store.errors import UsageError
from influence_store.execution import LOCAL
from influence_store.jobs.kernels import choose_kernel
from influence_store.jobs.methods import parsed
from influence_store.jobs.pick import Columns, pick
from influence_store.jobs.question import LAZY, Aim, Question, parts_of
from influence_store.jobs.select import MEMORY_BYTES, select
from influence_store.jobs.stored_selection import stored_selection
from influence_store.selection import SELECTORS
from influence_store.selection.budget import parse_budget
from influence_store.selection.plan import parse_memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.execution import Executor
    from influence_store.jobs.select_report import SelectReport
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

_HELP = "see: influence-store select --help"


@dataclass(frozen=True)
class Asked:
    """The options of `select`, as typed; what is left out is None or empty."""

    budget: str
    objective: str | None = None
    kernel: str | None = None
    target: tuple[str, ...] = ()
    given: str | None = None
    quota: tuple[str, ...] = ()
    tokenizer: str | None = None
    duplicates: str | None = None
    keep_leaks: bool = False
    start: str | None = None
    accept_weak: bool = False
    memory: str | None = None
    path: str | None = None
    parts: int | None = None
    optimizer: str | None = None
    by: str | None = None
    like: str | None = None
    vectors: str | None = None
    seed: int = 0

    def refuse_foreign(self, *, selects: bool) -> None:
        """UsageError for an option that the other kind of selection takes."""
        columns = ("by", "like", "vectors")
        both = ("budget", "objective", "given", "seed")
        foreign = (
            [name for name in vars(self) if name not in (*columns, *both)] if selects else columns
        )
        if strange := [name for name in foreign if getattr(self, name)]:
            option = {"start": "from"}.get(strange[0], strange[0]).replace("_", "-")
            told = f"--{option} means nothing to {self.objective or 'a set function'}"
            if option == "by" and self.objective is None:
                raise UsageError(told, hint=f"add: --objective top, for the highest {self.by}")
            raise UsageError(told, hint=_HELP)


def choose(
    store: Store,
    dataset: str,
    asked: Asked,
    settings: Mapping[str, str],
    executor: Executor = LOCAL,
) -> SelectReport:
    """Ask the selector or the set function that `asked.objective` names; `settings` are its own."""
    version = store.version(dataset)
    given = store.version(asked.given) if asked.given else None
    selects = asked.objective in SELECTORS.entries()
    asked.refuse_foreign(selects=selects)
    options = {name: parsed(text) for name, text in settings.items()}
    if selects:
        assert asked.objective is not None
        return pick(
            store,
            version,
            asked.budget,
            asked.objective,
            columns=Columns(asked.by, asked.like, asked.vectors),
            options=options,
            given=given,
            seed=asked.seed,
        )
    memory = parse_memory(asked.memory) if asked.memory else MEMORY_BYTES
    question = _question(store, version, given, asked, options)
    return select(store, question, memory=memory, executor=executor)


def _question(
    store: Store,
    version: Version,
    given: Version | None,
    asked: Asked,
    options: Mapping[str, object],
) -> Question:
    parts = parts_of(asked.objective, targeted=bool(asked.target), given=given is not None)
    aims = tuple(aim_of(store, text) for text in asked.target)
    versions = [version, *(aim.version for aim in aims), *([given] if given else [])]
    return Question(
        version=version,
        parts=parts,
        kernel=choose_kernel(store, versions, asked.kernel, accept_weak=asked.accept_weak),
        budget=parse_budget(asked.budget),
        aims=aims,
        given=given,
        settings=options,
        quotas=asked.quota,
        tokenizer=asked.tokenizer,
        duplicates=asked.duplicates,
        keep_leaks=asked.keep_leaks,
        start=stored_selection(store, asked.start).row.id if asked.start else None,
        optimizer=asked.optimizer or LAZY,
        path=asked.path,
        pieces=(asked.parts, None) if asked.parts else None,
        seed=asked.seed,
    )


def aim_of(store: Store, text: str) -> Aim:
    """`exam`, or `exam=2` for a target that counts twice."""
    name, equals, weight = text.partition("=")
    try:
        share = float(weight) if equals else 1.0
    except ValueError:
        share = -1.0
    if not 0 < share < float("inf"):
        raise UsageError(f"--target {text}: {weight!r} is no weight", hint="e.g. --target exam=2")
    return Aim(store.version(name), share)
