"""A causal LM, fine-tuned on some rows: adapter or all weights, one plain loop.

The loss of a step is the mean over all response tokens of the rows read in it, as trainers
compute it. No dropout: a run is decided by its rows, recipe and seed, and repeats bit by bit on
one machine. The caller's model stays as it is; adapters borrow its weights.
"""

from __future__ import annotations

import copy
import math
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from influence_store.errors import Incompatible
from influence_store.extras import require
from influence_store.influence.length_batches import length_batches
from influence_store.influence.lora import borrowed
from influence_store.influence.scorer import head_reads_only

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from influence_store.influence.llm import Llm
    from influence_store.trial.collate import Collator, Encoded
    from influence_store.trial.recipe import Recipe

#: Padded tokens of one forward pass.
BATCH_TOKENS = 2048


@dataclass(frozen=True)
class Tuned:
    """A model that can be trained: `model` computes, `head` is its vocabulary projection.

    `ahead` learned vectors stand before every text (prompt tuning; else 0).
    """

    model: Any
    head: Any
    collator: Collator
    ahead: int = 0

    @property
    def weights(self) -> list[Any]:
        """What is trained."""
        return [weight for weight in self.model.parameters() if weight.requires_grad]

    def losses(self, rows: Sequence[Encoded]) -> Iterator[tuple[list[int], Any, list[int]]]:
        """Batch by batch: positions, −log p (Σ T,) of their response tokens, and the T.

        In nats, differentiable; shorter rows first.
        """
        torch = require("torch", extra="train")
        for places in length_batches([row.length for row in rows], BATCH_TOKENS):
            batch = self.collator.batch([rows[k] for k in places])
            scored = torch.from_numpy(batch.scored)
            where = torch.nn.functional.pad(scored, (self.ahead, 0)).to(self.collator.llm.device)
            inputs = torch.from_numpy(batch.inputs).to(self.collator.llm.device)
            with head_reads_only(self.head, where):
                logits = self.model(input_ids=inputs, use_cache=False).logits
            gold = torch.from_numpy(batch.gold).to(logits.device)
            nll = torch.nn.functional.cross_entropy(logits.float(), gold, reduction="none")
            yield places, nll, [len(rows[k].response) for k in places]


@contextmanager
def tuned(collator: Collator, recipe: Recipe | None, seed: int) -> Iterator[Tuned]:
    """The model of `collator` made ready to train, its start drawn from `seed`.

    Without a recipe the model as it is. Incompatible where the model cannot be trained that way.
    """
    llm = collator.llm
    torch = require("torch", extra="train")
    if recipe is None:
        with torch.no_grad():
            yield Tuned(llm.model, llm.model, collator)
        return
    if llm.facts["dtype"] != "float32":
        raise Incompatible(
            f"{llm.name} is loaded in {llm.facts['dtype']}, too coarse to train",
            hint="load it with dtype=float32",
        )
    if recipe.tune == "full":
        model = copy.deepcopy(llm.model).requires_grad_(True)
        yield Tuned(model, model, collator)
        return
    base = borrowed(llm.model)
    with torch.random.fork_rng(devices=[]):
        # peft draws on the CPU, from torch's own generator.
        torch.default_generator.manual_seed(seed)
        model = _adapted(llm, base, recipe)
    ahead = recipe.virtual_tokens if recipe.tune == "prompt" else 0
    yield Tuned(model.eval(), base, collator, ahead)


def train(
    model: Tuned,
    steps: Sequence[Sequence[Encoded]],
    recipe: Recipe,
    advance: Callable[[int], None] = lambda _units: None,
) -> None:
    """One optimizer step on each of `steps`; Incompatible where the loss is no number any more."""
    torch = require("torch", extra="train")
    optimizer = torch.optim.AdamW(model.weights, lr=recipe.rate, weight_decay=recipe.weight_decay)
    for step, rows in enumerate(steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate_at(step, len(steps))
        optimizer.zero_grad(set_to_none=True)
        n_gold = sum(len(row.response) for row in rows)
        for _, nll, _ in model.losses(rows):
            loss = nll.sum() / n_gold
            if not math.isfinite(loss.item()):
                raise Incompatible(
                    f"fine-tuning {model.collator.llm.name} broke down at step {step + 1}: the "
                    f"loss is {loss.item()}",
                    hint=f"lower the learning rate: --set learning_rate={recipe.rate / 4:g}",
                )
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.weights, recipe.clip)
        optimizer.step()
        advance(1)
    optimizer.zero_grad(set_to_none=True)


def _adapted(llm: Llm, base: Any, recipe: Recipe) -> Any:
    """The peft model around `base`; Incompatible if peft knows no place in it."""
    peft = require("peft", extra="train")
    try:
        with warnings.catch_warnings():
            # peft asks transformers for things by names that transformers is about to drop.
            warnings.simplefilter("ignore", FutureWarning)
            return peft.get_peft_model(base, _config(peft, base, recipe))
    except ValueError as error:
        raise Incompatible(
            f"peft {peft.__version__} cannot put {recipe.tune} on {llm.name}: {error}",
            hint="use another --tune",
        ) from error


def _config(peft: Any, base: Any, recipe: Recipe) -> Any:
    if recipe.tune == "prompt":
        return peft.PromptTuningConfig(
            task_type="CAUSAL_LM", num_virtual_tokens=recipe.virtual_tokens
        )
    if recipe.tune == "ia3":
        return peft.IA3Config(task_type="CAUSAL_LM")
    conv1d = require("transformers.pytorch_utils", extra="train").Conv1D
    return peft.LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha or 2.0 * recipe.rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        # GPT-2 keeps its weights the other way round.
        fan_in_fan_out=any(isinstance(one, conv1d) for one in base.modules()),
        task_type="CAUSAL_LM",
    )
