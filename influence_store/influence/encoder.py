"""Where does a bidirectional text encoder come from, and what makes it that one and no other?

A transformers folder or a hub id becomes a float32 model whose token outputs can be averaged and
whose weights can be trained: the base of a classifier. The care is that of `llm.py`: code that
ships with a model is never run, weights are read from safetensors only, and none is made up.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
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

    from influence_store.protocols import Ids

DEFAULT_MAX_LEN = 512


@dataclass(frozen=True)
class Encoder:
    """A loaded encoder. `facts` is what decides its values; the device is not part of that."""

    name: str
    model: Any
    tokenizer: Any
    device: str
    max_len: int
    dim: int
    facts: Mapping[str, Any]

    def tokenize(self, text: str) -> Ids:
        """Ids (n ≥ 1,) with the model's own start and end marks; a marker in the text stays text.

        Never cut: n may exceed `max_len`.
        """
        encoded = self.tokenizer(text, split_special_tokens=True, verbose=False)
        return np.asarray(encoded["input_ids"], np.int64)

    def last_block(self) -> str:
        """Dotted name of the last transformer block within `model`; Incompatible if it has none."""
        torch = require("torch", extra="train")
        wanted = self.model.config.num_hidden_layers
        for name, module in self.model.named_modules():
            if isinstance(module, torch.nn.ModuleList) and len(module) == wanted:
                return f"{name}.{wanted - 1}"
        raise Incompatible(
            f"{self.name} keeps no list of its {wanted} blocks, so the last one cannot be named",
            hint="train the head only, or all weights",
        )


def load_encoder(
    where: str | Path,
    *,
    revision: str | None = None,
    max_len: int | None = None,
    device: str = "auto",
) -> Encoder:
    """Load a folder or a hub id at `revision`, in float32, evaluation mode and frozen.

    `max_len` counts tokens with the start and end marks and defaults to the smaller of 512 and
    the model's own limit. A pooler is dropped: token outputs are averaged, so nobody reads it.
    NotFound, UsageError, InputError or Incompatible say why a model cannot be used.
    """
    folder = model_folder(where, revision=revision, dtype="float32", cache=None)
    transformers = require("transformers", extra="train")
    config = read_config(folder)
    place = choose_device(require("torch", extra="train"), device)
    model = _model(transformers, folder).to(place).eval().requires_grad_(False)
    tokenizer = load_tokenizer(folder, model)
    limit = _limit(folder, model, max_len)
    facts = {**folder_facts(folder, config), "max_len": limit}
    return Encoder(str(where), model, tokenizer, place, limit, model.config.hidden_size, facts)


def is_encoder(where: str | Path, *, revision: str | None = None) -> bool:
    """Whether a folder or hub id names a bidirectional encoder; False for other models and files.

    Reads the config, no weights. InputError, NotFound or StorageError if there is no config.
    """
    path = Path(where).expanduser()
    if path.is_file() or (path.is_dir() and not (path / "config.json").is_file()):
        return False
    folder = model_folder(where, revision=revision, dtype="float32", cache=None)
    read_config(folder)
    transformers = require("transformers", extra="train")
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (ValueError, KeyError):
        return False
    return _is_bidirectional(transformers, config)


def _model(transformers: Any, folder: Path) -> Any:
    transformers.utils.logging.disable_progress_bar()
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)
        if not _is_bidirectional(transformers, config):
            raise Incompatible(
                f"{folder} is a {config.model_type} model, not a bidirectional encoder",
                hint="use one of the BERT family, e.g. sentence-transformers/all-MiniLM-L6-v2",
            )
        model, info = transformers.AutoModel.from_pretrained(
            folder,
            config=config,
            dtype=require("torch", extra="train").float32,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (ValueError, KeyError) as error:
        raise Incompatible(
            f"transformers {transformers.__version__} cannot load {folder} as an encoder: {error}",
            hint="models that bring their own code are refused; use an architecture it knows",
        ) from error
    absent = sorted(key for key in info["missing_keys"] if not key.startswith("pooler."))
    if absent:
        # transformers would fill these at random and go on.
        raise InputError(
            f"{folder} lacks {counted(len(absent), 'weight')} of its model, such as {absent[0]}",
            hint="download the model again",
        )
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model


def _is_bidirectional(transformers: Any, config: Any) -> bool:
    # An architecture that is trained on masked tokens looks to both sides.
    masked = type(config) in transformers.MODEL_FOR_MASKED_LM_MAPPING
    return masked and not config.is_encoder_decoder and not getattr(config, "is_decoder", False)


def _limit(folder: Path, model: Any, max_len: int | None) -> int:
    own = _positions(model)
    if max_len is None:
        return min(DEFAULT_MAX_LEN, own) if own else DEFAULT_MAX_LEN
    if max_len < 2 or (own and max_len > own):
        top = f" to {own}, the limit of {folder.name}" if own else " or more"
        raise UsageError(f"max_len is {max_len}; possible are 2{top}")
    return max_len


def _positions(model: Any) -> int | None:
    """How many tokens the model can number, None where it does not say."""
    own = getattr(model.config, "max_position_embeddings", None)
    for name, module in model.named_modules():
        # RoBERTa's numbering starts behind that of its padding token: 514 rows, 512 positions.
        padding = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and padding is not None:
            return int(module.num_embeddings - padding - 1)
    return None if own is None or own < 1 else int(own)
