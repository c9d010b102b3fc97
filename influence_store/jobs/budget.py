"""How much may `label` ask? A number of pairs or rows, a share, or a time."""

from __future__ import annotations

from dataclasses import dataclass

from influence_store.errors import UsageError


@dataclass(frozen=True)
class Budget:
    """What to spend; exactly one of the four is set.

    `share` of a pairwise method is a share of the rows *and* of the columns, as in NN-CIFT: 0.05
    asks for 0.25 % of all pairs. `minutes` limits the wall time.
    """

    pairs: int | None = None
    rows: int | None = None
    share: float | None = None
    minutes: float | None = None

    @classmethod
    def of(
        cls,
        *,
        pairs: int | None = None,
        rows: str | None = None,
        share: str | None = None,
        minutes: float | None = None,
    ) -> Budget:
        """From the command line; UsageError unless exactly one is given."""
        if sum(value is not None for value in (pairs, rows, share, minutes)) != 1:
            raise UsageError(
                "say how much to label",
                hint="one of --rows 500, --rows all, --share 5%, --minutes 10, --pairs 2000",
            )
        if rows == "all":
            return cls(share=1.0)
        return cls(
            pairs,
            None if rows is None else _count(rows),
            None if share is None else parse_share(share),
            minutes,
        )

    def check(self, *, pairs: bool) -> None:
        """UsageError for a budget in rows where the method asks about pairs, or the reverse."""
        if pairs and self.rows is not None:
            raise UsageError(
                "this method asks about pairs, not rows", hint="say --pairs, --share or --minutes"
            )
        if not pairs and self.pairs is not None:
            raise UsageError(
                "this method asks about rows, not pairs", hint="say --rows, --share or --minutes"
            )

    def n_pairs(self, n_sources: int, n_targets: int, seconds_per_pair: float) -> int:
        """The number of pairs this budget pays for; all where they cost no time."""
        if self.share is not None:
            return max(1, round(self.share * n_sources)) * max(1, round(self.share * n_targets))
        if self.minutes is not None:
            if not seconds_per_pair:
                return n_sources * n_targets
            return int(self.minutes * 60 / seconds_per_pair)
        return self.pairs or 0

    def n_rows(self, n: int) -> int:
        """How many of `n` rows to ask about; with a time limit all, until the time is over."""
        if self.share is not None:
            return max(1, round(self.share * n))
        return n if self.rows is None else min(n, self.rows)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise UsageError(f"--rows {text!r} is no number of rows", hint="for example 500, or all")
    return int(text)


def parse_share(text: str) -> float:
    """A share in (0, 1] from `5%` or `0.05`; UsageError for anything else."""
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise UsageError(f"{text!r} is not a share", hint="for example: 5%")
    return share
