"""What `explain` tells about one sample, and how it is put to people."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from influence_store.counted import counted
from influence_store.output import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Why a sample is not in: the first of these that holds.
Reason = Literal[
    "absent",  # not in the data that was chosen from
    "barred",  # a leak, or dropped by the duplicate policy
    "quota",  # its group is full
    "cost",  # it would exceed the budget of tokens
    "overlooked",  # it would add more than the last pick: the way of choosing was not exact
    "twin",  # a near-duplicate of a pick
    "unranked",  # the selector says nothing of samples that it does not pick
    "dominated",  # picks serve every target as well or better
    "below",  # it would add less than the last pick did
]


@dataclass(frozen=True)
class Named:
    """A sample as people see it; `rank` is its place in the selection, None if it has none."""

    sample_id: str
    prompt: str
    rank: int | None

    def told(self) -> str:
        """On one line."""
        place = "" if self.rank is None else f"rank {self.rank:,}  "
        return f"{self.sample_id[:12]}  {place}{plain(self.prompt)}"


@dataclass(frozen=True)
class Near:
    """Another sample and a number that links it to the one explained.

    As a twin: their cosine, −1..1. As a target: S[target, sample], higher = more helpful.
    """

    value: float
    sample: Named


@dataclass(frozen=True)
class Ahead:
    """A chosen sample that serves `n_targets` of another's own ones, `lead` better on average."""

    n_targets: int
    lead: float
    sample: Named


@dataclass(frozen=True)
class WhyIn:
    """A chosen sample. `share` is its part of the sum of all gains, 0..1, None if that is 0.

    It serves `n_served` targets best (`served` are those it helps most); taking it out would lose
    `lost`, what no other pick makes up for. These are None where the objective covers no targets.
    `displaced` are its most similar samples that were not chosen.
    """

    sample: Named
    gain: float | None
    share: float | None
    n_served: int | None
    lost: float | None
    served: tuple[Near, ...]
    displaced: tuple[Near, ...]
    chosen: bool = True

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"IN   {self.sample.told()}"
        if self.gain is not None:
            share = "" if self.share is None else f", {self.share:.2%} of the whole"
            yield f"     gain {self.gain:.4g}{share}"
        if self.n_served is not None:
            told = f"without it they would lose {self.lost:.4g}"
            yield f"     serves {counted(self.n_served, 'target')} best; {told}"
            yield from _listed("serves", self.served)
        yield from _listed("most similar ones left out", self.displaced)


@dataclass(frozen=True)
class WhyNot:
    """A sample that is not chosen: the first `reason` that holds, in words in `because`.

    `gain` is what it would add now, `last_gain` what the last pick added; `n_raised` targets would
    be better off. `expected_rank` is about where a bigger budget would put it, None for unknown or
    beyond this pool. `ahead` are the chosen ones that serve the targets it would serve best,
    `twins` its most similar chosen ones.
    """

    sample: Named
    reason: Reason
    because: str
    gain: float | None
    last_gain: float | None
    n_raised: int | None
    expected_rank: int | None
    ahead: tuple[Ahead, ...]
    twins: tuple[Near, ...]
    chosen: bool = False

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"OUT  {self.sample.told()}"
        yield f"     {self.because}"
        if self.gain is not None and self.n_raised is not None:
            last = "" if self.last_gain is None else f"; the last pick added {self.last_gain:.4g}"
            yield f"     would add {self.gain:.4g} to {counted(self.n_raised, 'target')}{last}"
        if self.expected_rank is not None:
            yield f"     would enter at a budget of about {self.expected_rank:,}"
        if self.ahead:
            yield "     picks that serve the targets it would serve best:"
            for one in self.ahead:
                how = "better" if one.lead >= 0 else "worse"
                led = f"{one.n_targets:,} of them {how} by {abs(one.lead):.4f}"
                yield f"       {led}  {one.sample.told()}"
        yield from _listed("most similar picks", self.twins)


@dataclass(frozen=True)
class ExplainReport:
    """Every asked sample of one selection, in the order asked."""

    selection: str
    dataset: str
    objective: str
    kernel: str
    n_items: int
    notes: tuple[str, ...]
    samples: tuple[WhyIn | WhyNot, ...]

    def facts(self) -> dict[str, Any]:
        """As printed by `--json`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        on = "" if self.kernel == "none" else f" on {self.kernel}"
        head = (
            f"selection {self.selection}: {counted(self.n_items, 'sample')} of {self.dataset} by "
            f"{self.objective}{on}"
        )
        notes = [f"note: {note}" for note in self.notes]
        return [*notes, head, *[line for one in self.samples for line in one.lines()]]


def _listed(title: str, found: tuple[Near, ...]) -> Iterator[str]:
    if found:
        yield f"     {title}:"
        for one in found:
            yield f"       {one.value:+.4f}  {one.sample.told()}"
