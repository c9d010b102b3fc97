"""Can an estimator be believed? The accuracy card: figures, intervals, a verdict and its doubts.

The verdict looks only at Q4, pairs of which neither sample was seen, because that is what a
filled store consists of. It speaks about ranking the sources of a target and about the sets that
greedy selection picks, never about squared error alone: an estimator can have a small error and
no order.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from influence_store.counted import counted
from influence_store.network.figures import Figures
from influence_store.network.intervals import ConformalInterval, Interval

if TYPE_CHECKING:
    from collections.abc import Mapping

Verdict = Literal["trusted", "weak", "no better than cosine", "no better than mean"]

ADDITIVE = 0.99
#: What stands in the facts because it follows from the rest.
_WORKED_OUT = ("verdict", "doubts", "notes")
EFFECTS, RAW_COSINE = "row+column effects", "cosine, raw"


@dataclass(frozen=True)
class ShareGain:
    """Gain of the sets of one size (see selection_gain), alone and minus that of cosine."""

    share: float
    own: Interval
    over_cosine: Interval


@dataclass(frozen=True)
class AccuracyCard:
    """What is known about one network. `figures[quadrant][name]` holds it beside all others.

    Intervals are on Q4, over targets: Spearman, Spearman minus that of cosine and of additive
    ridge for the same targets, the share of the mean's squared error that it saves, and the
    selection gain at each share of the sources. `rank_floor` is the lower end of Spearman's
    interval at a level that allows for the best of all candidates. `scalar` and `pair` say how far
    the truth may lie from a sample's stored scalar and from one S[i, j]; `ceiling` is the Spearman
    that no imitator of this teacher can surpass, where the teacher was asked again.
    """

    network: str
    figures: Mapping[str, Mapping[str, Figures]]
    spearman: Interval
    rank_floor: float
    over_cosine: Interval
    over_additive: Interval
    error_saved: Interval
    selection: tuple[ShareGain, ...]
    settings: Mapping[str, Any]
    scalar: ConformalInterval | None = None
    pair: ConformalInterval | None = None
    ceiling: float | None = None

    @property
    def own(self) -> Figures:
        """The figures the verdict rests on."""
        return self.figures["Q4"][self.network]

    @property
    def verdict(self) -> Verdict:
        """By the first rule that holds.

        no better than mean: `rank_floor` is not above 0.
        no better than cosine: Spearman minus cosine's is not above 0 with its interval, or the
        selection gain at some share is below cosine's with its interval.
        weak: `doubts` is not empty. trusted: otherwise.
        """
        if self.rank_floor <= 0:
            return "no better than mean"
        if self.over_cosine.low <= 0 or any(one.over_cosine.high < 0 for one in self.selection):
            return "no better than cosine"
        return "weak" if self.doubts else "trusted"

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why an estimator that beats cosine is not trusted yet."""
        own, found = self.own, []
        if own.additivity > ADDITIVE:
            found.append(
                f"predictions are {own.additivity:.1%} row + column effect: every target ranks "
                "sources alike, and facility location is blind after its first pick"
            )
        if own.r2 <= 0:
            found.append(f"R² is {own.r2:.3f}: the mean has the smaller error")
        if own.interaction_r2 is not None and own.interaction_r2 <= 0:
            found.append(
                f"interaction R² is {own.interaction_r2:.3f}: what it says beyond one score per "
                "sample is not borne out"
            )
        if self.over_additive.high < 0:
            found.append("ranks worse than one score per sample (additive ridge)")
        return tuple(found)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person who selects by it should know, whatever the verdict."""
        rank = (
            f"rank ρ over additive ridge {_range(self.over_additive)}: not shown to rank better "
            "than one score per sample"
        )
        sets = [
            f"a set of {one.share:.0%} picked by it is not shown to beat a random one: gain "
            f"{_range(one.own)}, where random is 0 and the teacher's own choice 1"
            for one in self.selection
            if one.own.low <= 0
        ]
        return (*([rank] if self.over_additive.low <= 0 <= self.over_additive.high else []), *sets)

    def facts(self) -> dict[str, Any]:
        """As stored with the estimator; JSON-able."""
        return {
            "network": self.network,
            "verdict": self.verdict,
            "doubts": list(self.doubts),
            "notes": list(self.notes),
            "figures": {
                quadrant: {name: one.facts() for name, one in named.items()}
                for quadrant, named in self.figures.items()
            },
            "spearman": asdict(self.spearman),
            "rank_floor": self.rank_floor,
            "over_cosine": asdict(self.over_cosine),
            "over_additive": asdict(self.over_additive),
            "error_saved": asdict(self.error_saved),
            "selection": [asdict(one) for one in self.selection],
            "scalar_interval": self.scalar.facts() if self.scalar else None,
            "pair_interval": self.pair.facts() if self.pair else None,
            "spearman_ceiling": self.ceiling,
            **self.settings,
        }

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> AccuracyCard:
        """The card whose `facts` were stored; its verdict is by the rules of today."""
        rest = {key: value for key, value in facts.items() if key not in _WORKED_OUT}
        scalar, pair = rest.pop("scalar_interval"), rest.pop("pair_interval")
        return cls(
            network=rest.pop("network"),
            figures={
                quadrant: {name: Figures.of(one) for name, one in named.items()}
                for quadrant, named in rest.pop("figures").items()
            },
            spearman=Interval(**rest.pop("spearman")),
            rank_floor=rest.pop("rank_floor"),
            over_cosine=Interval(**rest.pop("over_cosine")),
            over_additive=Interval(**rest.pop("over_additive")),
            error_saved=Interval(**rest.pop("error_saved")),
            selection=tuple(
                ShareGain(one["share"], Interval(**one["own"]), Interval(**one["over_cosine"]))
                for one in rest.pop("selection")
            ),
            scalar=ConformalInterval(**scalar) if scalar else None,
            pair=ConformalInterval(**pair) if pair else None,
            ceiling=rest.pop("spearman_ceiling"),
            settings=rest,
        )

    def lines(self) -> list[str]:
        """A short table for a person: pairs unseen on both sides, best rank first."""
        rows = sorted(
            self.figures["Q4"].items(), key=lambda item: -(item[1].spearman_per_target or 0.0)
        )
        fair = [top for top in self.own.top_k if top.chance <= 1 / 3]
        k, chance = (fair[-1].k, fair[-1].chance) if fair else (0, 0.0)
        shares = [one.share for one in self.own.selection]
        gains = "".join(f"{f'gain {share:.0%}':>10}" for share in shares)
        out = [
            f"{self.network}: {self.verdict}",
            f"{counted(self.own.pairs, 'prediction')} for pairs unseen on both sides, "
            f"{counted(self.own.ranked_targets, 'target')}",
            f"{'':24}{'R²':>8}{'rank ρ':>8}{f'top {k}':>8}{gains}{'additive':>10}",
        ]
        for name, one in rows:
            mark = "→ " if name == self.network else "  "
            r2 = None if name == RAW_COSINE else one.r2
            top = next((top.overlap for top in one.top_k if top.k == k), None)
            cells = [_cell(r2, 8), _cell(one.spearman_per_target, 8), _cell(top, 8)]
            cells += [_cell(gain.gain, 10) for gain in one.selection]
            out.append(f"{mark + name:24}{''.join(cells)}{_cell(one.additivity, 10)}")
        out.append(f"a guess finds {chance:.2f} of the top {k}; gain: 0 random, 1 the teacher")
        out.append(f"rank ρ over cosine {_range(self.over_cosine)}{self._quadrants()}")
        if self.ceiling is not None:
            out.append(f"the teacher's own noise allows a rank ρ of {self.ceiling:.2f} at most")
        if self.scalar is not None and self.pair is not None:
            out.append(f"a sample's mean influence {self.scalar.line()}")
            out.append(f"one value S[i, j] {self.pair.line()}")
        return [
            *out,
            *(f"doubt: {doubt}" for doubt in self.doubts),
            *(f"note: {note}" for note in self.notes),
        ]

    def _quadrants(self) -> str:
        """Its rank correlation where one side or both were seen, for comparison."""
        known = {
            quadrant: named[self.network].spearman_per_target
            for quadrant, named in self.figures.items()
            if quadrant != "Q4"
        }
        told = [f"{quadrant} {rho:.2f}" for quadrant, rho in known.items() if rho is not None]
        return f"; with seen samples {', '.join(told)}" if told else ""


def _range(one: Interval) -> str:
    return f"{one.mean:+.2f} [{one.low:+.2f}, {one.high:+.2f}]"


def _cell(value: float | None, width: int) -> str:
    return f"{'–' if value is None else f'{value:.2f}':>{width}}"
