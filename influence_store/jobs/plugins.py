"""Which parts can be asked for by name, who brings them, and do they load and keep their laws?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from influence_store.counted import agree, counted
from influence_store.embedding import EMBEDDERS, open_embedder
from influence_store.errors import Incompatible, NotFound, UsageError
from influence_store.exporters import EXPORTERS
from influence_store.influence import METHODS
from influence_store.influence.imports import FORMATS
from influence_store.network import NETWORKS
from influence_store.schema.sample import Sample
from influence_store.selection import FUNCTIONS, OPTIMIZERS, SELECTORS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from influence_store.registry import Offer

REGISTRIES = (
    METHODS,
    EMBEDDERS,
    EXPORTERS,
    FUNCTIONS,
    SELECTORS,
    OPTIMIZERS,
    NETWORKS,
    FORMATS,
)
#: Ten samples that no two methods confuse: short and long, prose, code and numbers.
_ASKED = (
    ("Name a colour.", "Blue."),
    ("What is 12 plus 30?", "12 + 30 = 42, as 12 is ten and two."),
    ("Say no.", "no, no, no, no, no, no, no, no, no"),
    ("Write a function that doubles.", "def double(x):\n    return 2 * x"),
    ("How warm is it?", "It is 21 °C in the shade; yesterday it was 17 °C."),
    ("Who wrote Faust?", "Johann Wolfgang von Goethe wrote it over sixty years."),
    ("Count to five.", "one, two, three, four, five"),
    ("Is 91 prime?", "No: 91 = 7 × 13."),
    ("Greet me.", "Hello there! How are you today?"),
    ("Why is the sky blue?", "Short waves are scattered more than long ones. " * 3),
)


@dataclass(frozen=True)
class PluginsReport:
    """One row per name that is offered; `problem` is empty where it loads."""

    rows: tuple[dict[str, Any], ...]

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return {"plugins": list(self.rows)}

    def lines(self) -> list[str]:
        """For people: by kind, built in names on one line, packages with what they bring."""
        told = []
        for registry in REGISTRIES:
            rows = [row for row in self.rows if row["group"] == registry.group]
            built_in = [row["name"] for row in rows if row["built_in"] and not row["problem"]]
            told.append(f"{registry.kind}s ({registry.group})")
            told.append(f"  built in: {', '.join(built_in)}")
            told += [f"  {_line(row)}" for row in rows if not row["built_in"] or row["problem"]]
        broken = sum(bool(row["problem"]) for row in self.rows)
        fail = agree(broken, "does", "do")
        return [*told, f"{counted(len(self.rows), 'name')}, {broken} of them {fail} not load"]


@dataclass(frozen=True)
class CheckReport:
    """A plugin that kept every law of the conformance kit."""

    name: str
    kind: str

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return {"name": self.name, "kind": self.kind, "conforms": True}

    def lines(self) -> list[str]:
        """For people."""
        return [f"{self.kind} {self.name} keeps every law that is checked"]


def list_plugins() -> PluginsReport:
    """Every name of every registry; each is imported, and one that fails is told, not raised."""
    return PluginsReport(
        tuple(
            {
                "kind": registry.kind,
                "group": registry.group,
                "name": one.name,
                "built_in": not one.package,
                "package": one.package or "influence-store",
                "version": one.version,
                "target": one.entry.target,
                "problem": _problem(one),
            }
            for registry in REGISTRIES
            for one in registry.offers()
        )
    )


def check_plugin(spec: str, cache: Path) -> CheckReport:
    """Run the conformance kit on the method or embedder NAME[:LOCATION].

    Incompatible names the law that is broken. UsageError for what the kit does not check, or
    cannot without a model; NotFound for a name that nobody offers.
    """
    name = spec.partition(":")[0]
    if name in EMBEDDERS.entries():
        from influence_store.testing import check_embedder

        _checked(spec, lambda: check_embedder(lambda: open_embedder(spec, cache=cache)))
        return CheckReport(spec, EMBEDDERS.kind)
    if spec in METHODS.entries():
        from influence_store.testing import check_method

        make = _buildable(spec)
        samples = [Sample.of(prompt, response) for prompt, response in _ASKED]
        _checked(spec, lambda: check_method(make, samples))
        return CheckReport(spec, METHODS.kind)
    for registry in REGISTRIES:
        if spec in registry.entries():
            raise UsageError(
                f"the kit checks influence methods and embedders; {spec} is a {registry.kind}",
                hint="whether it loads: influence-store plugins",
            )
    known = {*METHODS.entries(), *EMBEDDERS.entries()}
    raise NotFound.named("method or embedder", spec, known, hint="see: influence-store plugins")


def _buildable(name: str) -> Callable[[], Any]:
    try:
        made = METHODS.get(name)
    except (Exception, SystemExit) as error:
        raise Incompatible(
            f"{name} does not load: {type(error).__name__}: {error}",
            hint="see: influence-store plugins",
        ) from error
    if needs := getattr(getattr(made, "spec", None), "needs", ()):
        raise UsageError(
            f"{name} is built from {' + '.join(needs)}, which only a test of yours can hand over",
            hint="in that test: from influence_store.testing import check_method; "
            f"check_method(lambda: {made.__name__}(…), samples); then: python -m pytest",
        )
    return made  # type: ignore[no-any-return]


def _checked(name: str, check: Callable[[], None]) -> None:
    """Whatever a stranger's code raises is a finding about it, not a bug of ours."""
    try:
        check()
    except AssertionError as error:
        raise Incompatible(f"{name} breaks a law: {error}") from error
    except (NotFound, UsageError, Incompatible):
        raise
    except Exception as error:
        raise Incompatible(f"{name} raised {type(error).__name__}: {error}") from error


def _problem(offer: Offer) -> str:
    """Why it cannot be used; empty if it can."""
    if offer.taken_by:
        return f"the name is taken by {offer.taken_by}"
    try:
        offer.entry.load()
    except (Exception, SystemExit) as error:  # a module may do anything when it is imported
        lacking = isinstance(error, ImportError) and offer.entry.extra
        install = f"; pip install 'influence-store[{offer.entry.extra}]'" if lacking else ""
        return f"{type(error).__name__}: {error}{install}"
    return ""


def _line(row: dict[str, Any]) -> str:
    whose = "built in" if row["built_in"] else f"{row['package']} {row['version']}".rstrip()
    told = f"does not load: {row['problem']}" if row["problem"] else "loads"
    return f"{row['name']}  {whose}, {row['target']}: {told}"
