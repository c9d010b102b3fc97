"""What may be said of a comparison, in words that promise no more than the interval does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from influence_store.trial.statistics import Paired

BEATS, LOSES, NO_EVIDENCE = "beats", "loses", "no evidence"
TOO_FEW, SAME = "too few", "same rows"
#: Below this nothing is said of other runs, or of other held-out samples.
MIN_RUNS, MIN_SAMPLES = 3, 10


@dataclass(frozen=True)
class Verdict:
    """`kind` is one of the words above; `words` is a whole sentence without its subject."""

    kind: str
    words: str


def verdict(
    told: Paired | None,
    baseline: str,
    unit: str,
    *,
    fixed: bool = False,
    seeds: int | None = None,
) -> Verdict:
    """The verdict on a selection against `baseline`; None of `told` = both have the same rows.

    With `fixed` nothing is random but the held-out samples, so that one run is enough. `seeds`
    are those that the selection was trained with, None where training is not random.
    """
    if told is None:
        return Verdict(SAME, f"has the same rows as {baseline}: there is nothing to compare")
    runs = told.runs if seeds is None else min(seeds, told.runs)
    if runs < MIN_RUNS and not fixed:
        few = f"{runs} of at least {MIN_RUNS}"
        return Verdict(TOO_FEW, f"too few seeds to tell whether it beats {baseline}: {few}")
    if told.samples < MIN_SAMPLES:
        few = f"{told.samples} of at least {MIN_SAMPLES}"
        return Verdict(TOO_FEW, f"too few held-out rows to tell whether it beats {baseline}: {few}")
    assert not np.isnan([told.low, told.high]).any()
    interval = f"{told.mean:+.4f} {unit} [{told.low:+.4f}, {told.high:+.4f}]"
    if told.low > 0:
        return Verdict(BEATS, f"beats {baseline}: {interval}")
    if told.high < 0:
        return Verdict(LOSES, f"loses to {baseline}: {interval}")
    return Verdict(NO_EVIDENCE, f"no evidence that it beats {baseline}: {interval}")
