"""Where does a causal LM come from, and what makes it that LM and no other?

A transformers folder, a `.gguf` file or a hub id become a float model ready for scoring. Code
that ships with a model is never run, and weights are read from safetensors or GGUF only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.counted import counted
from influence_store.errors import Incompatible, InputError, UsageError
from influence_store.extras import require
from influence_store.influence.model_folder import (
    choose_device,
    folder_facts,
    load_tokenizer,
    model_folder,
    read_config,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from influence_store.protocols import Ids

DTYPES = ("float32", "bfloat16", "float16")
DEFAULT_MAX_LEN = 2048


@dataclass(frozen=True)
class Llm:
    """A loaded causal LM. `facts` is what decides its values; the device is not part of that."""

    name: str
    model: Any
    tokenizer: Any
    device: str
    max_len: int
    eos_id: int | None
    facts: Mapping[str, Any]

    def tokenize(self, text: str) -> Ids:
        """Ids (n,) of a text; nothing is added, and no spelling of a marker becomes one."""
        encoded = self.tokenizer(
            text, add_special_tokens=False, split_special_tokens=True, verbose=False
        )
        return np.asarray(encoded["input_ids"], np.int64)


def load_llm(
    where: str | Path,
    *,
    revision: str | None = None,
    dtype: str = "float32",
    max_len: int | None = None,
    device: str = "auto",
    cache: Path | None = None,
) -> Llm:
    """Load a folder, a `.gguf` file (dequantised once into `cache`), or a hub id at `revision`.

    `max_len` counts all tokens of a pair and defaults to the smaller of 2048 and the model's own
    limit. NotFound, UsageError, InputError or Incompatible say why a model cannot be used.
    """
    if dtype not in DTYPES:
        raise UsageError(f"dtype {dtype!r} is not known", hint=f"use one of {', '.join(DTYPES)}")
    folder = model_folder(where, revision=revision, dtype=dtype, cache=cache)
    torch = require("torch", extra="train")
    transformers = require("transformers", extra="train")
    config = read_config(folder)
    limit = _limit(folder, config, max_len)
    place = choose_device(torch, device)
    model = _model(transformers, folder, getattr(torch, dtype)).to(place).eval()
    tokenizer = load_tokenizer(folder, model)
    facts = {**folder_facts(folder, config), "dtype": dtype, "max_len": limit}
    return Llm(str(where), model, tokenizer, place, limit, tokenizer.eos_token_id, facts)


def _limit(folder: Path, config: Mapping[str, Any], max_len: int | None) -> int:
    own = config.get("max_position_embeddings") or config.get("n_positions")
    if max_len is None:
        return min(DEFAULT_MAX_LEN, own) if own else DEFAULT_MAX_LEN
    if max_len < 2 or (own and max_len > own):
        top = f" to {own}, the limit of {folder.name}" if own else " or more"
        raise UsageError(f"max_len is {max_len}; possible are 2{top}")
    return max_len


def _model(transformers: Any, folder: Path, dtype: Any) -> Any:
    transformers.utils.logging.disable_progress_bar()
    try:
        model, info = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (ValueError, KeyError) as error:
        raise Incompatible(
            f"transformers {transformers.__version__} cannot load {folder} as a causal LM: {error}",
            hint="models that bring their own code are refused; use an architecture it knows",
        ) from error
    absent = sorted(info["missing_keys"])
    if absent:
        # transformers would fill these at random and go on.
        raise InputError(
            f"{folder} lacks {counted(len(absent), 'weight')} of its model, such as {absent[0]}",
            hint="download the model again",
        )
    return model
