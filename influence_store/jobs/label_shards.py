"""How is labelling cut into shards, and how does a worker come to the methods that do it?

A value may depend, in its last bits, on what was read in the same batch; so shards are cut by
count alone, never by the clock, and every engine asks the same batches. How long a row takes is not
known beforehand: a shard is a sixteenth of what came before it, so whatever the pace, a kill or a
deadline costs at most a sixteenth of the time spent, beyond one smallest shard.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from influence_store.errors import Incompatible, UsageError
from influence_store.influence import METHODS, Method
from influence_store.jobs.methods import ModelChoice, Workshop
from influence_store.jobs.samples import growing
from influence_store.settings import cache_dir

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from influence_store.protocols import Ledger
    from influence_store.store.store import Store

#: A shard is at most this share of what came before it.
_GROWTH = 1 / 16
#: What a method may need for a worker to open it as the driver did: a model, and what the driver
#: has put into the store by then.
_SENT = {"llm", "checkpoints", "null_checkpoints", "seen"}
#: No method, but a column of its own.
STATES = "llm-state"


def shard_sizes(least: int, most: int) -> Iterator[int]:
    """Sizes without end, from `least` to `most`, each a sixteenth of those before."""
    return growing(least, most, _GROWTH)


def in_time(deadline: float | None) -> bool:
    """Whether another shard may be begun; `deadline` by the monotonic clock, None = always."""
    return deadline is None or time.monotonic() < deadline


@dataclass(frozen=True)
class MethodsAt:
    """Names of methods over a dataset version, and the model they ask: how to build them again."""

    names: tuple[str, ...]
    dataset: str
    choice: ModelChoice
    device: str = "cpu"

    @classmethod
    def of(cls, names: Sequence[str], dataset: str, choice: ModelChoice, device: str) -> MethodsAt:
        """With a model's folder as this machine knows it, whatever directory a worker starts in."""
        model = choice.model
        if model is not None and os.path.exists(model):
            model = os.path.abspath(model)
        sent = replace(choice, model=model, cache=None, trains=False)
        return cls(tuple(names), dataset, sent, device)

    def open(self, store: Store) -> list[Any]:
        """The methods, ready to be asked."""
        choice = replace(self.choice, cache=cache_dir())
        return Workshop(store, store.version(self.dataset), None, choice).methods(self.names)


def check_same(found: Sequence[str], expected: Sequence[str]) -> None:
    """Incompatible if a worker's producers (fingerprints) are not the driver's."""
    for here, there in zip(found, expected, strict=True):
        if here != there:
            raise Incompatible(
                f"a worker opens another method or model ({here[:12] or 'unknown to the store'}) "
                f"than the driver ({there[:12]})",
                hint="put the same model and the same packages on every machine",
            )


def check_sendable(names: Sequence[str], *, active: bool = False, again: bool = False) -> None:
    """UsageError for a method that a worker cannot open by itself, or asking of another kind."""
    if active or again:
        what = "--design active" if active else "--again"
        raise UsageError(f"{what} works in one process", hint="leave --engine out")
    for name in names:
        if name == STATES:
            raise UsageError(f"--method {name} works in one process", hint="leave --engine out")
        if lacking := set(METHODS.get(name).spec.needs) - _SENT:
            able = [
                one
                for one, entry in METHODS.entries().items()
                if isinstance(entry, Method) and set(entry.needs) <= _SENT
            ]
            raise UsageError(
                f"{name} cannot be asked by --engine ray: it needs {', '.join(sorted(lacking))}",
                hint=f"leave --engine out; these can: {', '.join(able)}",
            )


def total(ledgers: Sequence[Ledger]) -> dict[str, int]:
    """What several ledgers hold together."""
    return added({}, *(ledger.facts() for ledger in ledgers))


def added(*costs: Mapping[str, int]) -> dict[str, int]:
    """The sum of costs, by name."""
    return {
        name: sum(cost.get(name, 0) for cost in costs)
        for name in dict.fromkeys(name for cost in costs for name in cost)
    }


def since(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    """What was spent between two readings."""
    return {name: count - before.get(name, 0) for name, count in now.items()}
