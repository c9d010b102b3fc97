"""What would work cost? Told from a small part of it, measured on this machine just now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyroaring import BitMap

from influence_store.counted import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from influence_store.schema.sample import Sample
    from influence_store.store.store import Store


@dataclass(frozen=True)
class Part:
    """One piece of the work: `cells` to measure and what that takes, told from `measured`."""

    name: str
    cells: int
    known: int
    llm_passes: int
    llm_tokens: int
    seconds: float
    bytes: int
    measured: int

    def line(self) -> str:
        """For people."""
        passes = f"{counted(self.llm_passes, 'LLM pass')}, {counted(self.llm_tokens, 'token')}, "
        return (
            f"  {self.name}: {self.cells:,} to compute, {self.known:,} known already; "
            f"{passes if self.llm_passes else ''}{duration(self.seconds)}, "
            f"{self.bytes / 1e6:,.1f} MB (from {self.measured:,} measured now)"
        )


@dataclass(frozen=True)
class CostPlan:
    """The pieces in the order of the work; `device` is where it was measured and would run."""

    dataset: str
    device: str
    parts: tuple[Part, ...]

    @property
    def seconds(self) -> float:
        """Of the whole work."""
        return sum(part.seconds for part in self.parts)

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        parts = [vars(part) for part in self.parts]
        totals = {"seconds": self.seconds, "bytes": sum(part.bytes for part in self.parts)}
        return {"dataset": self.dataset, "device": self.device, "parts": parts, **totals}

    def lines(self) -> list[str]:
        """For people."""
        told = f"{self.dataset}, measured on {self.device}:"
        whole = f"  in all about {duration(self.seconds)} on {self.device}"
        return [told, *[part.line() for part in self.parts], whole]


def duration(seconds: float) -> str:
    """A time to read: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def characters(sample: Sample) -> int:
    """What a pass over a sample grows with, near enough."""
    return len(sample.prompt) + len(sample.response)


def all_characters(store: Store, sids: Iterable[int]) -> int:
    """Of all these samples together; no text is read."""
    columns = ["prompt_chars", "response_chars"]
    batches = store.scan(store.blocks("samples"), columns, BitMap(sids))
    return sum(int(batch[name].to_numpy().sum()) for batch in batches for name in columns)
