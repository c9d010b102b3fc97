"""Where does a causal LM come from, and what makes it that LM and no other?

A transformers folder, a `.gguf` file or a hub id become a float model ready for scoring. Code
that ships with a model is never run, and weights are read from safetensors or GGUF only.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from influence_store.errors import (
    Incompatible,
    InputError,
    NotFound,
    StorageError,
    UsageError,
)
from influence_store.extras import require
from influence_store.influence.gguf import converted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.protocols import Ids

_log = logging.getLogger(__name__)

DTYPES = ("float32", "bfloat16", "float16")
DEFAULT_MAX_LEN = 2048
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt")
# Entries of config.json that say who wrote the file, not what the model computes.
_NOT_COMPUTED = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache")


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
    folder = _folder(where, revision=revision, dtype=dtype, cache=cache)
    torch = require("torch", extra="train")
    transformers = require("transformers", extra="train")
    config = _read_config(folder)
    limit = _limit(folder, config, max_len)
    place = _device(torch, device)
    model = _model(transformers, folder, getattr(torch, dtype)).to(place).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    known = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > known:
        raise Incompatible(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens, the model knows {known}",
            hint="take tokenizer and weights from the same place",
        )
    facts = {
        "weights": _digest(sorted(folder.glob("*.safetensors"))),
        "config": _config_digest(config),
        "tokenizer": _digest(
            [path for name in _TOKENIZER_FILES if (path := folder / name).exists()]
        ),
        "dtype": dtype,
        "max_len": limit,
    }
    return Llm(str(where), model, tokenizer, place, limit, tokenizer.eos_token_id, facts)


def _folder(where: str | Path, *, revision: str | None, dtype: str, cache: Path | None) -> Path:
    path = Path(where).expanduser()
    if path.is_dir():
        if (path / "config.json").is_file():
            return path
        files = sorted(path.glob("*.gguf"))
        if len(files) != 1:
            found = f"{len(files)} .gguf files" if files else "neither config.json nor .gguf"
            raise InputError(
                f"{path} is no model folder: {found}",
                hint="name a transformers folder or one .gguf file",
            )
        path = files[0]
    if path.is_file():
        if path.suffix != ".gguf":
            raise InputError(
                f"{path} is a file but not .gguf", hint="name the folder that holds config.json"
            )
        return converted(path, dtype=dtype, cache=cache)
    if not _HUB_ID.fullmatch(str(where)) or str(where).startswith("."):
        raise NotFound(
            f"no file or folder {where}", hint="ls the path, or give a hub id owner/name"
        )
    return _from_hub(str(where), revision)


def _from_hub(name: str, revision: str | None) -> Path:
    hub = require("huggingface_hub", extra="train")
    wanted = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja"]
    try:
        return Path(hub.snapshot_download(name, revision=revision, allow_patterns=wanted))
    except (hub.errors.RepositoryNotFoundError, hub.errors.RevisionNotFoundError) as error:
        at = f" at revision {revision}" if revision else ""
        raise NotFound(
            f"no folder {name} here and no such model on the hub{at}",
            hint="ls the path; a private model needs a login: hf auth login",
        ) from error
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{name} is neither a folder here nor to be had from the hub: {error}",
            hint="check the spelling and the network, or name a local folder",
        ) from error


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = orjson.loads((folder / "config.json").read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise InputError(
            f"cannot read {folder / 'config.json'}: {error}", hint="name a transformers folder"
        ) from error
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{folder} has no .safetensors file",
            hint="pickled weights (.bin) can run code and are not read: convert them first",
        )
    return dict(config)


def _limit(folder: Path, config: Mapping[str, Any], max_len: int | None) -> int:
    own = config.get("max_position_embeddings") or config.get("n_positions")
    if max_len is None:
        return min(DEFAULT_MAX_LEN, own) if own else DEFAULT_MAX_LEN
    if max_len < 2 or (own and max_len > own):
        top = f" to {own}, the limit of {folder.name}" if own else " or more"
        raise UsageError(f"max_len is {max_len}; possible are 2{top}")
    return max_len


def _device(torch: Any, wanted: str) -> str:
    gpu = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "auto":
        return gpu
    if wanted.startswith("cuda") and gpu == "cpu":
        _log.warning("asked for %s but torch %s sees no GPU: using cpu", wanted, torch.__version__)
        return "cpu"
    return wanted


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
            f"{folder} lacks {len(absent)} weights of its model, such as {absent[0]}",
            hint="download the model again",
        )
    return model


def _digest(paths: list[Path]) -> str:
    """sha256 over names and contents."""
    whole = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{path.name} {content}\n".encode())
    return whole.hexdigest()


def _config_digest(config: Mapping[str, Any]) -> str:
    kept = {key: value for key, value in config.items() if key not in _NOT_COMPUTED}
    return hashlib.sha256(orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)).hexdigest()
