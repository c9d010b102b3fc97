"""What is asked of `select`? All that decides a selection, as said, stored and read back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from influence_store.errors import NotFound, UsageError
from influence_store.jobs.kernels import Kernel, choose_kernel
from influence_store.schema.identity import fingerprint
from influence_store.selection import FUNCTIONS
from influence_store.selection.budget import Budget, parse_budget

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.schema.catalog import Selection
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

#: The optimizer unless another is named; compiled where the function is known to the engine.
LAZY = "lazy-greedy"
#: Which functions stand on what: the samples themselves, a target, a dataset that is given, both.
OWN = (
    "facility-location",
    "graph-cut",
    "saturated-coverage",
    "log-determinant",
    "disparity-sum",
    "disparity-min",
)
TARGETED = ("flqmi", "fl1mi", "flvmi", "gcmi")
CONDITIONAL = ("flcg", "gccg")
BOTH = ("flcmi",)


@dataclass(frozen=True)
class Aim:
    """A dataset that the selection should serve, and how much that counts."""

    version: Version
    weight: float = 1.0


@dataclass(frozen=True)
class Question:
    """All that decides a selection; equal questions on equal values have equal identities.

    `parts` are the set functions with their weights, several for a mixture. `start` is an earlier
    selection whose picks stay, `duplicates` the policy for near copies, `quotas` and `tokenizer`
    as said on the command line. `path` is how the answer is computed, `represented` how many
    targets stand for all where some do, `pieces` into how many cells a selection in parts goes and
    how many samples a part holds at most, and `limits` a digest of what quotas, tokens, duplicates
    and leaks came to; all are None until worked out.
    """

    version: Version
    parts: tuple[tuple[str, float], ...]
    kernel: Kernel
    budget: Budget
    aims: tuple[Aim, ...] = ()
    given: Version | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    quotas: tuple[str, ...] = ()
    tokenizer: str | None = None
    duplicates: str | None = None
    keep_leaks: bool = False
    start: str | None = None
    optimizer: str = LAZY
    path: str | None = None
    represented: int | None = None
    pieces: tuple[int | None, int | None] | None = None
    limits: str | None = None
    seed: int = 0

    @property
    def objective(self) -> str:
        """The function by name; a mixture as its sum."""
        if len(self.parts) == 1:
            return self.parts[0][0]
        return " + ".join(f"{weight:g}*{name}" for name, weight in self.parts)

    def inputs(self) -> dict[str, Any]:
        """As stored, to ask it again."""
        return {
            "dataset": str(self.version),
            "rows": digest(self.version),
            "objective": self.objective,
            "parts": [[name, weight] for name, weight in self.parts],
            "kernel": self.kernel.producer.fingerprint,
            "targets": [
                {"dataset": str(a.version), "rows": digest(a.version), "weight": a.weight}
                for a in self.aims
            ],
            "given": None
            if self.given is None
            else {"dataset": str(self.given), "rows": digest(self.given)},
            "budget": self.budget.text,
            "settings": dict(self.settings),
            "quotas": list(self.quotas),
            "tokenizer": self.tokenizer,
            "duplicates": self.duplicates,
            "keep_leaks": self.keep_leaks,
            "start": self.start,
            "optimizer": self.optimizer,
            "path": self.path,
            "represented": self.represented,
            # Only where it decides: other questions keep the identity that they always had.
            **({} if self.pieces is None else {"pieces": list(self.pieces)}),
            "limits": self.limits,
            "seed": self.seed,
        }

    @property
    def identity(self) -> str:
        """12 hex digits: the selection's id."""
        return fingerprint(self.inputs())[:12]


def question_of(store: Store, row: Selection) -> Question:
    """The question that the stored selection `row` answers; NotFound if it was a selector's."""
    asked = row.facts["inputs"]
    if "parts" not in asked:
        raise NotFound(
            f"selection {row.id} was made by the selector {row.objective}, without a set function"
        )
    version = store.version_by_id(row.dataset_version_id)
    aims = tuple(Aim(store.version(one["dataset"]), one["weight"]) for one in asked["targets"])
    given = store.version(asked["given"]["dataset"]) if asked["given"] else None
    versions = [version, *(aim.version for aim in aims), *([given] if given else [])]
    return Question(
        version=version,
        parts=tuple((name, weight) for name, weight in asked["parts"]),
        kernel=choose_kernel(
            store, versions, row.kernel, accept_weak=True, fingerprint=asked["kernel"]
        ),
        budget=parse_budget(asked["budget"]),
        aims=aims,
        given=given,
        settings=asked["settings"],
        quotas=tuple(asked["quotas"]),
        tokenizer=asked["tokenizer"],
        duplicates=asked["duplicates"],
        keep_leaks=asked["keep_leaks"],
        start=asked["start"],
        optimizer=asked["optimizer"],
        path=asked["path"],
        represented=asked["represented"],
        pieces=tuple(asked["pieces"]) if "pieces" in asked else None,
        limits=asked["limits"],
        seed=asked["seed"],
    )


def digest(version: Version) -> str:
    """A hash of which rows a version holds."""
    return fingerprint({"bits": version.bits.serialize().hex()})


def parts_of(text: str | None, *, targeted: bool, given: bool) -> tuple[tuple[str, float], ...]:
    """Set functions and weights from `facility-location` or `0.7*flqmi + 0.3*graph-cut`.

    Without a text what the options suggest: coverage, or DELIFT's objective for a target, for data
    that is given, for both. UsageError for a function that stands on something else.
    """
    if text is None:
        return ((_fitting(targeted, given)[0], 1.0),)
    return tuple(_part(part.strip(), targeted, given) for part in text.split("+"))


def _part(text: str, targeted: bool, given: bool) -> tuple[str, float]:
    weight, star, name = text.rpartition("*")
    name = name.strip()
    try:
        share = float(weight) if star else 1.0
    except ValueError:
        raise UsageError(
            f"{text!r} is no weighted objective", hint="for example: 0.7*flqmi + 0.3*graph-cut"
        ) from None
    if name not in FUNCTIONS.entries():
        FUNCTIONS.get(name)  # NotFound with the nearest names
    allowed = (*_fitting(targeted, given), *OWN)
    if name not in allowed:
        needs = {TARGETED: "--target D", CONDITIONAL: "--given D", BOTH: "--target D and --given D"}
        wanted = next((need for names, need in needs.items() if name in names), "the Python API")
        raise UsageError(f"objective {name} needs {wanted}", hint=f"possible here: {allowed[0]}")
    if name in OWN and (targeted or given) and not star:
        option = "--target" if targeted else "--given"
        raise UsageError(
            f"objective {name} needs neither --target nor --given",
            hint=f"leave out {option}, or mix: --objective '0.5*{allowed[0]} + 0.5*{name}'",
        )
    return name, share


def _fitting(targeted: bool, given: bool) -> tuple[str, ...]:
    """The functions that read exactly what is offered, the default first."""
    if targeted and given:
        return BOTH
    return TARGETED if targeted else CONDITIONAL if given else OWN
