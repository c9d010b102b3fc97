"""Samples that a method is given beside those it scores: can they be read, what is their name?

Targets of a held-out risk, or the rows that checkpoints were trained on.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from influence_store.errors import InputError
from influence_store.influence.batch import read_all
from influence_store.schema.identity import fingerprint, sample_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.influence.learner import Learner, Reading
    from influence_store.schema.sample import Sample

_log = logging.getLogger(__name__)


def usable(learner: Learner, samples: Sequence[Sample], what: str) -> tuple[Reading, ...]:
    """The readings that can be learned from; the log counts the others, InputError if all are."""
    batch = read_all(learner, samples)
    cut = int(batch.truncated.sum())
    told = f"{len(batch.readings)} of {len(samples)} {what} can be read ({cut} do not fit)"
    if not batch.readings:
        raise InputError(told, hint=f"hand over {what} with a response that fits {learner.name}")
    if len(batch.readings) < len(samples):
        _log.warning("%s", told)
    return batch.readings


def identity(samples: Sequence[Sample]) -> str:
    """One name for a list of samples; order counts, because minibatches are drawn from it."""
    return fingerprint({"samples": [sample_id(sample).hex() for sample in samples]})
