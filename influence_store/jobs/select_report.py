"""What `select` says: how many, by what, how sure, and what cheap rivals reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from influence_store.counted import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from influence_store.schema.catalog import Selection


@dataclass(frozen=True)
class SelectReport:
    """A stored selection: `stored` holds everything needed to recompute and to judge it."""

    id: str
    dataset: str
    objective: str
    kernel: str
    n_items: int
    stored: Mapping[str, Any]
    notes: tuple[str, ...]
    reused: bool

    @classmethod
    def of(
        cls, row: Selection, dataset: str, notes: tuple[str, ...], *, reused: bool
    ) -> SelectReport:
        """The report of a stored selection."""
        return cls(
            row.id, dataset, row.objective, row.kernel, row.n_items, row.facts, notes, reused
        )

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return {
            "id": self.id,
            "dataset": self.dataset,
            "objective": self.objective,
            "kernel": self.kernel,
            "items": self.n_items,
            "notes": list(self.notes),
            "reused": self.reused,
            **self.stored,
        }

    def lines(self) -> list[str]:
        """For people: what was chosen, and what the same objective says of cheap rivals."""
        known = " (known already)" if self.reused else ""
        on = "" if self.kernel == "none" else f" on {self.kernel}"
        head = [
            *[f"note: {note}" for note in self.notes],
            f"selection {self.id}: {counted(self.n_items, 'sample')} of {self.dataset} by "
            f"{self.objective}{on}{known}",
        ]
        told = self.stored["baselines"]
        if told is None:
            return [*head, "  no baselines: the dataset has no embeddings yet"]
        if "picks" in self.stored:
            return [*head, *self._coverage(told)]
        return [*head, *self._how(), *self._rivals(told)]

    def _how(self) -> Iterator[str]:
        """How it was computed, how good it can be at least, and what the limits did."""
        answer = self.stored["answer"]
        yield f"  {self.stored['plan']['told']}"
        if "certificate" in answer:
            yield f"  {answer['certificate']['told']}"
        if "told" in answer:
            yield f"  {answer['told']}"
        if "tokens" in answer:
            yield f"  {answer['tokens']:,} tokens by {self.stored['limits']['tokens']['tokenizer']}"
        if "groups" in answer:
            groups = answer["groups"].items()
            yield "  " + ", ".join(f"{name}: {count:,}" for name, count in groups)
        if self.stored["knee"] is not None:
            yield from (f"  {line}" for line in self.stored["knee"]["lines"])
        if "with_leaks" in self.stored:
            leaks = self.stored["with_leaks"]
            yield (
                f"  value {leaks['without']:.4g} without leaks; {leaks['value']:.4g} with "
                f"{counted(leaks['leaks_picked'], 'leaked row')} among the picks"
            )

    def _rivals(self, told: Mapping[str, Any]) -> Iterator[str]:
        random = told["random"]
        gains = {name: one["normalised_gain"] for name, one in told["references"].items()}
        rivals = [f"{name} {gain:+.2f}" for name, gain in gains.items() if gain is not None]
        yield f"  value {told['value']:.4g}; {_versus(random)}"
        yield f"  way from random (0) to this selection (1): {', '.join(rivals)}"
        if told["left_out"]:
            yield f"  not compared: {'; '.join(told['left_out'])}"
        picks = counted(self.n_items, "pick")
        yield f"  {told['nonzero_gain_picks']:,} of {picks} gained something"

    def _coverage(self, told: Mapping[str, Any]) -> Iterator[str]:
        """Of a selector: where coverage by cosine puts its picks."""
        random = told["random"]
        best = told["references"]["cosine facility location"]["value"]
        lead = best - random["mean"]
        place = (told["value"] - random["mean"]) / lead if lead > 0 else float("nan")
        yield f"  coverage by cosine: {told['value']:.4g}; {_versus(random)}"
        yield f"  way from random (0) to cosine facility location (1): {place:+.2f}"


def _versus(random: Mapping[str, Any]) -> str:
    return f"random ×{random['draws']}: {random['mean']:.4g} ± {random['sd']:.2g}"
