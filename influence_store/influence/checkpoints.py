"""What is kept of a fine-tuning run: trainable weights, Adam's moments, and how it was run.

A checkpoint is one safetensors document: bytes that cannot execute code and whose sha256 is its
identity. Methods that compare checkpoints (LESS, TracIn, VoG, forgetting) take a list of them.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import orjson

from influence_store.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.protocols import Floats


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune: AdamW without dropout or clipping; the seed decides the order of rows.

    The rate rises linearly over the first `warmup_ratio` of the steps (from 0 at the first step)
    and falls linearly to 0. `n_checkpoints` are spread evenly over the steps, the last one at the
    end. `blind` trains on responses without their prompts (the null model of PVI).
    """

    epochs: float = 4.0
    batch_size: int = 8
    learning_rate: float = 2e-5
    warmup_ratio: float = 0.03
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    n_checkpoints: int = 4
    blind: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        positive = ("epochs", "batch_size", "learning_rate", "n_checkpoints")
        if wrong := {name: getattr(self, name) for name in positive if getattr(self, name) <= 0}:
            raise ValueError(f"a recipe has positive {', '.join(positive)}; found {wrong}")
        if not 0.0 <= self.warmup_ratio <= 1.0:
            raise ValueError(f"warmup_ratio is {self.warmup_ratio}; a share from 0 to 1")

    def facts(self) -> dict[str, Any]:
        """Everything that decides the checkpoints, given the learner and the rows."""
        return asdict(self)


@dataclass(frozen=True)
class Checkpoint:
    """Flat float32 vectors (n_parameters,): the weights and Adam's first and second moment.

    `learning_rate` is the mean over the steps since the checkpoint before, which weights the
    checkpoint in LESS and TracIn. `step` counts optimizer steps; moments are not bias-corrected.
    """

    step: int
    learning_rate: float
    weights: Floats
    exp_avg: Floats
    exp_avg_sq: Floats
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def to_bytes(self) -> bytes:
        """A safetensors document; equal checkpoints give equal bytes."""
        from safetensors.numpy import save

        tensors = {name: getattr(self, name) for name in _TENSORS}
        return bytes(save(tensors, metadata={"checkpoint": orjson.dumps(self._scalars()).decode()}))

    @classmethod
    def from_bytes(cls, content: bytes) -> Checkpoint:
        """Read what `to_bytes` wrote; IntegrityError if it is something else."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            tensors = load(content)
            header = orjson.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            scalars = orjson.loads(header["__metadata__"]["checkpoint"])
            read = cls(**scalars, **{name: tensors.pop(name) for name in _TENSORS})
        except (SafetensorError, KeyError, TypeError, orjson.JSONDecodeError) as error:
            raise IntegrityError(f"these bytes are no checkpoint: {error}", hint=_HINT) from error
        shapes = {(getattr(read, name).shape, getattr(read, name).dtype.name) for name in _TENSORS}
        if tensors or shapes != {((read.weights.size,), "float32")}:
            raise IntegrityError(
                f"a checkpoint has {len(_TENSORS)} float32 vectors of one length; "
                f"found {sorted(shapes)}{' and more tensors' if tensors else ''}",
                hint=_HINT,
            )
        return read

    @property
    def sha256(self) -> str:
        """Identity: hash of the bytes."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def _scalars(self) -> Mapping[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in _TENSORS}


_TENSORS = ("weights", "exp_avg", "exp_avg_sq")
_HINT = "restore the file from a backup, or train again with the same recipe"
