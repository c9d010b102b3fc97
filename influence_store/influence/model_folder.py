"""Where does a model's folder come from, and what in it decides what the model computes?

Shared by causal LMs and encoders. Code that ships with a model is never run, and weights are read
from safetensors or GGUF only.
"""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from influence_store.errors import Incompatible, InputError, NotFound, Unreachable
from influence_store.extras import require
from influence_store.influence.gguf import converted
from influence_store.meter import on_gpu

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger(__name__)

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt")
# Entries of config.json that say who wrote the file, not what the model computes.
_NOT_COMPUTED = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache")


def model_folder(
    where: str | Path, *, revision: str | None, dtype: str, cache: Path | None
) -> Path:
    """The transformers folder behind a folder, a `.gguf` file or a hub id.

    NotFound, InputError or StorageError say why there is none.
    """
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


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a folder with safetensors; InputError for any other."""
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


def choose_device(torch: Any, wanted: str) -> str:
    """Where to run: the GPU for "auto" if torch sees one; asked for in vain, the CPU, and told."""
    gpu = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "auto":
        wanted = gpu
    if wanted.startswith("cuda") and gpu == "cpu":
        _log.warning("asked for %s but torch %s sees no GPU: using cpu", wanted, torch.__version__)
        return "cpu"
    if wanted.startswith("cuda"):
        on_gpu()
    return wanted


def load_tokenizer(folder: Path, model: Any) -> Any:
    """The tokenizer of a folder; Incompatible if it has tokens that `model` does not know."""
    transformers = require("transformers", extra="train")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    known = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > known:
        raise Incompatible(
            f"the tokenizer in {folder} has {len(tokenizer)} tokens, the model knows {known}",
            hint="take tokenizer and weights from the same place",
        )
    return tokenizer


def folder_facts(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Digests of weights, config and tokenizer: what decides the values of a model."""
    tokenizer = [path for name in _TOKENIZER_FILES if (path := folder / name).exists()]
    return {
        "weights": _digest(sorted(folder.glob("*.safetensors"))),
        "config": _config_digest(config),
        "tokenizer": _digest(tokenizer),
    }


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
        raise Unreachable(
            f"{name} is neither a folder here nor to be had from the hub: {error}",
            hint="check the spelling and the network, or name a local folder",
        ) from error


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
