"""How is a learner fine-tuned, and what is kept on the way? Plain AdamW, nothing hidden.

The loss of a step is the mean over its batch of each reading's mean token loss, so every sample
weighs the same whatever its length. Differences from a default transformers Trainer: no dropout,
no clipping of gradients, and no mean over all tokens of a batch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.errors import Incompatible, InputError, UsageError
from influence_store.extras import require
from influence_store.influence.checkpoints import Checkpoint
from influence_store.progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from influence_store.influence.checkpoints import Recipe
    from influence_store.influence.learner import Reading
    from influence_store.influence.torch_learner import TorchLearner
    from influence_store.protocols import Floats, Ids


def train(learner: TorchLearner, readings: Sequence[Reading], recipe: Recipe) -> list[Checkpoint]:
    """Train the weights that are in place and leave the trained ones there.

    InputError where there is nothing to learn from, UsageError for more checkpoints than steps,
    Incompatible where the loss is no longer a number.
    """
    if not readings or not all(reading.usable for reading in readings):
        unusable = sum(not reading.usable for reading in readings)
        raise InputError(
            f"{unusable} of {len(readings)} training rows have no gold tokens",
            hint="train on usable rows only, at least one of them",
        )
    n_steps = steps_of(recipe, len(readings))
    kept = checkpoint_steps(recipe, n_steps)
    optimizer, schedule = _adam(learner, recipe, n_steps)
    checkpoints: list[Checkpoint] = []
    rates: list[float] = []
    with progress("training", n_steps, "steps") as advance:
        batches = _orders(len(readings), n_steps, recipe)
        for step, batch in enumerate(batches, start=1):
            rates.append(schedule.get_last_lr()[0])
            optimizer.zero_grad(set_to_none=True)
            _backward(learner, [readings[k] for k in batch], step)
            optimizer.step()
            schedule.step()
            advance()
            if step in kept:
                checkpoints.append(_checkpoint(learner, optimizer, recipe, step, rates))
                rates = []
    optimizer.zero_grad(set_to_none=True)
    return checkpoints


def steps_of(recipe: Recipe, n: int) -> int:
    """Optimizer steps over n rows; a last small batch counts as one."""
    return max(1, round(recipe.epochs * math.ceil(n / recipe.batch_size)))


def checkpoint_steps(recipe: Recipe, n_steps: int) -> frozenset[int]:
    """After which steps (from 1) a checkpoint is kept: evenly spread, the last one at the end."""
    if recipe.n_checkpoints > n_steps:
        raise UsageError(
            f"{recipe.n_checkpoints} checkpoints from a run of {n_steps} steps",
            hint=f"ask for 1 to {n_steps}, train longer, or use smaller batches",
        )
    return frozenset(
        n_steps * k // recipe.n_checkpoints for k in range(1, recipe.n_checkpoints + 1)
    )


def _orders(n: int, n_steps: int, recipe: Recipe) -> Iterator[Ids]:
    """Positions of each step's batch: every epoch is another permutation."""
    rng = np.random.default_rng(recipe.seed)
    step = 0
    while step < n_steps:
        order = rng.permutation(n)
        for start in range(0, n, recipe.batch_size):
            if step == n_steps:
                return
            yield order[start : start + recipe.batch_size]
            step += 1


def _adam(learner: TorchLearner, recipe: Recipe, n_steps: int) -> tuple[Any, Any]:
    torch = require("torch", extra="train")
    transformers = require("transformers", extra="train")
    optimizer = torch.optim.AdamW(
        learner.trainable.values(),
        lr=recipe.learning_rate,
        betas=(recipe.beta1, recipe.beta2),
        eps=recipe.epsilon,
        weight_decay=recipe.weight_decay,
    )
    schedule = transformers.get_linear_schedule_with_warmup(
        optimizer, math.ceil(recipe.warmup_ratio * n_steps), n_steps
    )
    return optimizer, schedule


def _backward(learner: TorchLearner, batch: Sequence[Reading], step: int) -> None:
    for part in learner.batches(batch):
        loss = learner.gold_logits([batch[k] for k in part]).losses.sum() / len(batch)
        if not math.isfinite(loss.item()):
            raise Incompatible(
                f"training {learner.name} broke down at step {step}: the loss is {loss.item()}",
                hint="lower the learning rate, or load the model with dtype=float32",
            )
        loss.backward()


def _checkpoint(
    learner: TorchLearner, optimizer: Any, recipe: Recipe, step: int, rates: Sequence[float]
) -> Checkpoint:
    return Checkpoint(
        step=step,
        learning_rate=float(np.mean(rates)),
        weights=learner.weights(),
        exp_avg=_moment(learner, optimizer, "exp_avg"),
        exp_avg_sq=_moment(learner, optimizer, "exp_avg_sq"),
        beta1=recipe.beta1,
        beta2=recipe.beta2,
        epsilon=recipe.epsilon,
    )


def _moment(learner: TorchLearner, optimizer: Any, name: str) -> Floats:
    """Looked up parameter by parameter: the optimizer's own order is nobody's promise."""
    return flat(optimizer.state[p][name] for p in learner.trainable.values())


def flat(tensors: Iterable[Any]) -> Floats:
    """Tensors one after another, each row-major, as one float32 vector."""
    torch = require("torch", extra="train")
    joined: Floats = torch.cat([t.detach().float().flatten() for t in tensors]).cpu().numpy()
    return joined
