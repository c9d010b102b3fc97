"""Which gradients does a causal LM have for a sample? Of a LoRA adapter, or of its last block.

The sample is read as the response scorers read it: context and response tokenised apart, logits
at position t − 1 score the response token at t, rows padded on the right where causal attention
cannot look. A LoRA adapter (arXiv 2106.09685) starts with B = 0, so before any training it
changes no value, and the gradient of every A is 0: warm up first, as LESS does.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from influence_store.errors import Incompatible
from influence_store.extras import require
from influence_store.influence.learner import Reading
from influence_store.influence.prompts import DELIFT_TEMPLATE, Prompter, Template
from influence_store.influence.scorer import Request, head_reads_only, padded
from influence_store.influence.torch_learner import GoldLogits, TorchLearner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from influence_store.influence.llm import Llm
    from influence_store.protocols import Ledger
    from influence_store.schema.sample import Sample

Trainable = Literal["lora", "last-layer"]
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


class LoraLm(TorchLearner):
    """A `Learner` over a causal LM; the caller's `llm` stays as it is and lends its weights.

    `trainable` is a LoRA adapter on `target_modules` (None: on every linear layer but the output,
    for architectures that have other names), or all weights of the last transformer block.
    `seed` decides the adapter's start. Incompatible if the model has no such layers.
    """

    def __init__(
        self,
        llm: Llm,
        *,
        trainable: Trainable = "lora",
        rank: int = 8,
        alpha: float = 16.0,
        target_modules: Sequence[str] | None = ATTENTION,
        template: Template = DELIFT_TEMPLATE,
        max_response_tokens: int | None = None,
        batch_tokens: int = 512,
        seed: int = 0,
        ledger: Ledger | None = None,
    ) -> None:
        self.llm = llm
        self.prompter = Prompter(llm, template, max_response_tokens)
        self._trained: Mapping[str, Any] = {"what": trainable}
        module = borrowed(llm.model)
        if trainable == "lora":
            targets = None if target_modules is None else sorted(target_modules)
            self._trained |= {"rank": rank, "alpha": alpha, "targets": targets, "seed": seed}
            _add_lora(llm, module, rank, alpha, targets, seed)
        else:
            _free_last_block(llm, module)
        super().__init__(
            module, name=llm.name, device=llm.device, batch_tokens=batch_tokens, ledger=ledger
        )

    @property
    def facts(self) -> Mapping[str, Any]:
        """All that decides values besides the checkpoint."""
        template = self.prompter.template
        return {
            "learner": "causal-lm",
            "version": 1,
            "llm": dict(self.llm.facts),
            "trainable": dict(self._trained),
            "template": [template.name, template.alone],
            "eos": [template.eos_after_prompt, template.eos_after_response],
            "max_response_tokens": self.prompter.max_response_tokens,
        }

    def read(self, sample: Sample) -> Reading:
        """Context without an example, then the response; `truncated` if they exceed the limit."""
        context = self.prompter.alone(sample)
        gold = self.prompter.scored(self.prompter.response(sample))
        too_long = len(context) + len(gold) > self.llm.max_len
        return Reading(context, gold[:0] if too_long else gold, truncated=too_long)

    def without_prompt(self, reading: Reading) -> Reading:
        """The response after a single EOS: a causal LM needs one token to start from."""
        if self.llm.eos_id is None:
            raise Incompatible(
                f"the tokenizer of {self.llm.name} has no EOS token to stand for no prompt",
                hint="use a model whose tokenizer names an eos_token",
            )
        return Reading(np.array([self.llm.eos_id], np.int64), reading.gold, reading.truncated)

    def n_read(self, reading: Reading) -> int:
        """All tokens but the last, whose successor nobody asks for."""
        return _request(reading).n_run

    def gold_logits(self, readings: Sequence[Reading]) -> GoldLogits:
        """One forward pass; the vocabulary projection sees the scoring positions only."""
        torch = require("torch", extra="train")
        rows, scored = padded([_request(reading) for reading in readings])
        with head_reads_only(self.module, torch.from_numpy(scored).to(self.device)):
            logits = self.module(torch.from_numpy(rows).to(self.device), use_cache=False).logits
        gold = np.concatenate([reading.gold for reading in readings])
        return GoldLogits(
            logits.to(torch.promote_types(logits.dtype, torch.float32)),
            torch.from_numpy(gold).to(self.device),
            tuple(len(reading.gold) for reading in readings),
        )


def _request(reading: Reading) -> Request:
    return Request(reading.context, reading.gold)


def borrowed(model: Any) -> Any:
    """A frozen copy of the model's structure over the very same weights: it costs no memory."""
    torch = require("torch", extra="train")
    lent = {id(p): torch.nn.Parameter(p.detach(), requires_grad=False) for p in model.parameters()}
    lent |= {id(buffer): buffer for buffer in model.buffers()}
    return copy.deepcopy(model, lent)


def _add_lora(
    llm: Llm, module: Any, rank: int, alpha: float, targets: Sequence[str] | None, seed: int
) -> None:
    torch = require("torch", extra="train")
    peft = require("peft", extra="train")
    names = {name.rpartition(".")[2] for name, _ in module.named_modules()}
    absent = sorted(set(targets or ()) - names)
    if absent:
        raise Incompatible(
            f"{llm.name} has no layers named {', '.join(absent)}",
            hint="target_modules=None puts the adapter on all of its linear layers",
        )
    conv1d = require("transformers.pytorch_utils", extra="train").Conv1D
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,
        target_modules="all-linear" if targets is None else list(targets),
        # GPT-2 keeps its weights the other way round.
        fan_in_fan_out=any(isinstance(m, conv1d) for m in module.modules()),
        task_type="CAUSAL_LM",
    )
    # peft draws on the CPU, from torch's own generator.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        peft.inject_adapter_in_model(config, module)
    for p in module.parameters():
        # Below float32 a step of 1e-5 would round to nothing.
        if p.requires_grad:
            p.data = p.data.float()


def _free_last_block(llm: Llm, module: Any) -> None:
    """Give the last transformer block weights of its own that can be trained."""
    torch = require("torch", extra="train")
    if llm.facts["dtype"] != "float32":
        raise Incompatible(
            f"{llm.name} is loaded in {llm.facts['dtype']}, too coarse to train its own weights",
            hint="load it with dtype=float32, or train a LoRA adapter",
        )
    blocks = [m for m in module.modules() if isinstance(m, torch.nn.ModuleList)]
    depth = module.config.get_text_config().num_hidden_layers
    stacks = [stack for stack in blocks if len(stack) == depth]
    if len(stacks) != 1:
        raise Incompatible(
            f"{llm.name} has {len(stacks)} stacks of {depth} blocks; one was expected",
            hint="train a LoRA adapter instead",
        )
    for p in stacks[0][-1].parameters():
        p.data = p.data.clone()
        p.requires_grad_(True)
