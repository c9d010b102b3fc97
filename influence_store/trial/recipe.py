"""How is a model fine-tuned in a trial? All settings, in one value that is part of every fact."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from influence_store.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What is trained → the learning rate unless another is said.
RATES = {"lora": 5e-4, "ia3": 5e-3, "prompt": 3e-2, "full": 3e-5}


@dataclass(frozen=True)
class Recipe:
    """AdamW with a linear warm-up over `warmup` of the steps, then linearly down to 0.

    `rank` and `alpha` are LoRA's (alpha 0 = twice the rank), `virtual_tokens` those of prompt
    tuning. A step reads about `step_tokens`; `clip` bounds the norm of its gradient.
    """

    tune: str = "lora"
    learning_rate: float = 0.0
    rank: int = 8
    alpha: float = 0.0
    virtual_tokens: int = 16
    step_tokens: int = 2048
    warmup: float = 0.1
    weight_decay: float = 0.0
    clip: float = 1.0

    def __post_init__(self) -> None:
        if self.tune not in RATES:
            raise UsageError(f"--tune {self.tune} is not known", hint=f"use {', '.join(RATES)}")
        for name in ("rank", "virtual_tokens", "step_tokens", "clip"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} is {getattr(self, name)}; expected more than 0")
        for name in ("learning_rate", "alpha", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name} is {getattr(self, name)}; expected 0 or more")
        if not 0 <= self.warmup <= 1:
            raise UsageError(f"warmup is {self.warmup}; expected a share from 0 to 1")

    @classmethod
    def of(cls, tune: str, settings: Mapping[str, str]) -> Recipe:
        """From `--set NAME=VALUE`; UsageError for a name or a value that there is not."""
        kinds: dict[str, Any] = {
            one.name: type(one.default) for one in fields(cls) if one.name != "tune"
        }
        if unknown := sorted(set(settings) - set(kinds)):
            raise UsageError(
                f"a trial has no setting {unknown[0]!r}",
                hint=f"say --set NAME=VALUE with one of: {', '.join(sorted(kinds))}",
            )
        values: dict[str, Any] = {}
        for name, text in settings.items():
            try:
                values[name] = kinds[name](text)
            except ValueError as error:
                told = f"--set {name}={text}: {text!r} is no {kinds[name].__name__}"
                raise UsageError(told, hint="e.g. rank=8, learning_rate=2e-4") from error
        return cls(tune, **values)

    @property
    def rate(self) -> float:
        """The learning rate at its highest."""
        return self.learning_rate or RATES[self.tune]

    def facts(self) -> dict[str, Any]:
        """All that decides the training besides data, model and seed."""
        of_lora, of_prompts = ("rank", "alpha"), ("virtual_tokens",)
        told = {**asdict(self), "learning_rate": self.rate, "alpha": self.alpha or 2.0 * self.rank}
        left_out = {
            *(of_lora if self.tune != "lora" else ()),
            *(of_prompts if self.tune != "prompt" else ()),
        }
        return {name: value for name, value in told.items() if name not in left_out}

    def rate_at(self, step: int, n_steps: int) -> float:
        """The learning rate of step 0, 1, … n_steps − 1."""
        rising = max(1, round(self.warmup * n_steps))
        if step < rising:
            return self.rate * (step + 1) / rising
        return self.rate * (n_steps - step) / max(1, n_steps - rising)
