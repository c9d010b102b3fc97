"""`receipt` and `verify --selection`: write down what decides a selection; make it again.

A selection is a function of stored values. `verify` asks the same question of the store once more,
compares what decides (data, kernel, function, question) and then pick by pick, gains included, to
the last bit. A receipt may come from another store that held the same data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from influence_store.counted import counted
from influence_store.durable import replace_file
from influence_store.errors import IntegrityError, NotFound, StorageError, UsageError
from influence_store.jobs.allowed import allowed
from influence_store.jobs.cells import content_ids
from influence_store.jobs.problem import plan_of, problem_of
from influence_store.jobs.publish_selection import new_selection
from influence_store.jobs.question import question_of
from influence_store.jobs.receipt import (
    digest,
    first_difference,
    from_file,
    ids_digest,
    made_with,
    sealed,
    to_bytes,
)
from influence_store.jobs.select import MEMORY_BYTES, solve
from influence_store.jobs.stored_selection import stored_selection
from influence_store.schema.catalog import Selection
from influence_store.selection.knee import knee

if TYPE_CHECKING:
    from influence_store.jobs.allowed import Allowed
    from influence_store.jobs.question import Question
    from influence_store.protocols import Doubles, Ids
    from influence_store.store.store import Store
    from influence_store.store.versions import Version

#: Inputs that depend on where a store keeps its rows, or stand elsewhere in the receipt.
_ELSEWHERE = ("dataset", "rows", "targets", "given", "kernel")


@dataclass(frozen=True)
class ReceiptReport:
    """Where the receipt lies and the digest that names it."""

    selection: str
    path: str
    samples: int
    digest: str

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return dict(vars(self))

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"receipt of selection {self.selection}, {counted(self.samples, 'sample')}: "
            f"{self.path}",
            f"  sha256 {self.digest}",
            f"  check it: influence-store verify --selection {self.path}",
        ]


@dataclass(frozen=True)
class VerifyReport:
    """A selection that came out again, bit for bit; `notes` say what is not as it was then."""

    selection: str
    dataset: str
    samples: int
    digest: str
    notes: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return {**vars(self), "notes": list(self.notes), "reproduced": True}

    def lines(self) -> list[str]:
        """For people."""
        return [
            *[f"note: {note}" for note in self.notes],
            f"selection {self.selection} of {self.dataset}: all {self.samples:,} samples and "
            "gains are reproduced, bit for bit",
        ]


def write_receipt(store: Store, selection: str, out: Path) -> ReceiptReport:
    """Write the receipt of a stored selection to the file `out`, whole or not at all."""
    receipt = receipt_of(store, selection)
    try:
        replace_file(out, to_bytes(receipt))
    except OSError as error:
        raise StorageError(f"{out} cannot be written: {error.strerror or error}") from error
    return ReceiptReport(receipt["selection"], str(out), len(receipt["samples"]), receipt["digest"])


def receipt_of(store: Store, selection: str) -> dict[str, Any]:
    """The receipt of a stored selection; NotFound for a selector's, which has no set function."""
    stored = stored_selection(store, selection)
    question = question_of(store, stored.row)
    decisive = _decisive(
        store, stored.row, question, allowed(store, question), stored.row.facts["function"]
    )
    return sealed({**decisive, **_picks(store, stored.sids, stored.gains)})


def verify_selection(store: Store, what: str) -> VerifyReport:
    """Make the selection again that a receipt, or a stored selection's id, speaks of.

    IntegrityError names the first difference.
    """
    file = Path(what)
    expected = from_file(file) if file.is_file() else receipt_of(store, what)
    row = _row(store, expected)
    question = question_of(store, row)
    rules = allowed(store, question)
    question = replace(question, limits=rules.digest)
    memory = _memory(question)
    problem = problem_of(question, plan_of(question, memory), memory)
    found = _decisive(store, row, question, rules, dict(problem.function.facts))
    nothing: dict[str, Any] = {"samples": [], "gains": []}
    _compare({**expected, **nothing}, {**found, **nothing}, expected)
    chosen, _ = solve(store, question, rules, problem)
    items, gains = chosen.items, chosen.gains
    if question.budget.auto:
        costs = None if rules.tokens is None else rules.tokens[items].astype("float64")
        n = knee(gains, costs).n
        items, gains = items[:n], gains[:n]
    _compare(expected, {**found, **_picks(store, problem.sources[items], gains)}, expected)
    if digest(expected) != expected["digest"]:
        raise IntegrityError(
            f"the receipt of selection {row.id} was changed after it was written: its digest is "
            f"{digest(expected)[:12]}…, it says {expected['digest'][:12]}…",
            hint=f"write it again: influence-store receipt {row.id}",
        )
    return VerifyReport(
        row.id, str(question.version), len(items), expected["digest"], _changes(expected)
    )


def _decisive(
    store: Store,
    row: Selection,
    question: Question,
    rules: Allowed,
    function: dict[str, Any],
) -> dict[str, Any]:
    """All that decides the picks, told without sids."""
    producer = question.kernel.producer
    asked = {name: value for name, value in question.inputs().items() if name not in _ELSEWHERE}
    return {
        "selection": row.id,
        "data": {
            "pool": _data(store, question.version),
            "targets": [{**_data(store, a.version), "weight": a.weight} for a in question.aims],
            "given": None if question.given is None else _data(store, question.given),
        },
        "kernel": {
            "name": row.kernel,
            "fingerprint": producer.fingerprint,
            "facts": producer.facts,
        },
        "function": dict(function),
        "question": asked,
        "allowed": _allowed(rules),
    }


def _data(store: Store, version: Version) -> dict[str, Any]:
    ids = content_ids(store, version.sids)
    return {"dataset": str(version), "rows": len(ids), "digest": ids_digest(ids)}


def _allowed(rules: Allowed) -> dict[str, Any]:
    """What was barred and what counted the tokens; not what counting cost at that time."""
    tokens = rules.facts.get("tokens")
    kept = None if tokens is None else {name: tokens[name] for name in ("fingerprint", "total")}
    return {"barred": rules.facts["barred"], "tokens": kept}


def _picks(store: Store, sids: Ids, gains: Doubles) -> dict[str, Any]:
    return {
        "samples": [one.hex() for one in content_ids(store, sids)],
        "gains": [None if math.isnan(gain) else gain for gain in gains.tolist()],
    }


def _row(store: Store, receipt: dict[str, Any]) -> Selection:
    """The stored selection of a receipt; in another store what it would be there."""
    try:
        return stored_selection(store, receipt["selection"]).row
    except NotFound:
        pool = store.version(receipt["data"]["pool"]["dataset"])
    data = receipt["data"]
    asked = receipt["question"]
    if asked["start"] is not None:
        raise UsageError(
            f"selection {receipt['selection']} goes on from {asked['start']}, which is not here",
            hint="verify it in the store that holds both",
        )
    inputs = {
        **asked,
        "targets": data["targets"],
        "given": data["given"],
        "kernel": receipt["kernel"]["fingerprint"],
    }
    kernel, n_items = receipt["kernel"]["name"], len(receipt["samples"])
    return new_selection(
        receipt["selection"], pool, asked["objective"], kernel, n_items, {"inputs": inputs}
    )


def _memory(question: Question) -> int:
    """A kernel that was held in memory is held again, whatever the limit was then."""
    return 1 << 62 if question.path == "memory" else MEMORY_BYTES


def _compare(expected: dict[str, Any], found: dict[str, Any], receipt: dict[str, Any]) -> None:
    told = first_difference(expected, found)
    if told is None:
        return
    edited = digest(receipt) != receipt["digest"]
    raise IntegrityError(
        f"selection {receipt['selection']} is not reproduced; first difference: {told}",
        hint="the receipt was changed after it was written: its digest does not fit"
        if edited
        else "; ".join(_changes(receipt)) or "the store holds other values than then",
    )


def _changes(receipt: dict[str, Any]) -> tuple[str, ...]:
    """Versions of the tool and its libraries that are not those of the receipt."""
    then, now = receipt["made_with"], made_with()
    return tuple(
        f"{name} was {then.get(name, 'absent')}, is {now.get(name, 'absent')}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    )
