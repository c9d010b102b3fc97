"""What do all methods over a learner and its checkpoints have in common?

Who is asked, what was spent, and what identifies the values: the learner, the checkpoints in
their order, and the method's own settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from influence_store.errors import Incompatible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from influence_store.influence.checkpoints import Checkpoint
    from influence_store.influence.learner import Learner
    from influence_store.protocols import InfluenceSpec, Ledger


class CheckpointMethod:
    """Base of such a method; a subclass states its spec and hands over its settings.

    ValueError for fewer than `at_least` checkpoints, Incompatible where one does not fit.
    """

    spec: ClassVar[InfluenceSpec]

    def __init__(
        self,
        learner: Learner,
        checkpoints: Sequence[Checkpoint],
        *,
        at_least: int = 1,
        **settings: Any,
    ) -> None:
        self.learner = learner
        self.checkpoints = checked(learner, checkpoints, at_least=at_least)
        self._facts = {
            "method": self.spec.name,
            "version": 1,
            "learner": dict(learner.facts),
            "checkpoints": [checkpoint.sha256 for checkpoint in self.checkpoints],
            **settings,
        }

    @property
    def ledger(self) -> Ledger:
        """Passes and tokens spent so far, on the learner that methods may share."""
        return self.learner.ledger

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything that changes a value."""
        return self._facts


def checked(
    learner: Learner, checkpoints: Sequence[Checkpoint], *, at_least: int = 1
) -> tuple[Checkpoint, ...]:
    """The checkpoints, if there are enough (else ValueError) and they fit (else Incompatible)."""
    if len(checkpoints) < at_least:
        raise ValueError(f"needs at least {at_least} checkpoints, got {len(checkpoints)}")
    for checkpoint in checkpoints:
        if len(checkpoint.weights) != learner.n_parameters:
            raise Incompatible(
                f"the checkpoint of step {checkpoint.step} has {len(checkpoint.weights)} weights, "
                f"{learner.name} trains {learner.n_parameters}",
                hint="train the checkpoints with this model, rank and target modules",
            )
    return tuple(checkpoints)
