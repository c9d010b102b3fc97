"""How does a GGUF file become a transformers folder? Dequantised once, then kept.

Reading a GGUF through transformers takes most of a minute even for a small model, and the folder
written from it a second; so the folder is cached under the hash of the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import shutil
import struct
from typing import TYPE_CHECKING, Any

from influence_store.errors import InputError, UsageError
from influence_store.extras import require

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)

# What transformers has been seen to raise on damaged files and unknown architectures.
_UNREADABLE = (ValueError, KeyError, IndexError, NotImplementedError, struct.error)


def converted(path: Path, *, dtype: str, cache: Path | None) -> Path:
    """The folder in `cache` with the weights of the GGUF file `path` in `dtype`; made if needed."""
    if cache is None:
        raise UsageError(
            f"{path.name} must be dequantised into a folder, and no cache folder was given",
            hint="pass cache=…, or convert the model to a transformers folder",
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    folder = cache / f"gguf-{digest[:32]}-{dtype}"
    if (folder / "config.json").is_file():
        return folder
    _log.info("dequantising %s into %s: about a minute, once", path.name, folder)
    part = cache / f"{folder.name}.part-{os.getpid()}"
    try:
        _convert(path, part, dtype)
        _publish(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _convert(path: Path, part: Path, dtype: str) -> None:
    torch = require("torch", extra="train")
    transformers = require("transformers", extra="train")
    for module in ("gguf", "accelerate"):
        require(module, extra="train")
    transformers.utils.logging.disable_progress_bar()
    source: dict[str, Any] = {"gguf_file": path.name, "trust_remote_code": False}
    try:
        # Its progress bars obey no switch and would fill a log file.
        with contextlib.redirect_stderr(io.StringIO()):
            tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, **source)
            loaded = transformers.AutoModelForCausalLM.from_pretrained(
                path.parent, dtype=getattr(torch, dtype), **source
            )
    except _UNREADABLE as error:
        raise InputError(
            f"transformers {transformers.__version__} cannot read {path}: {error}",
            hint="use a GGUF of an architecture it supports, or the original safetensors",
        ) from error
    # transformers believes that the model is still quantised and refuses to save it.
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    model.load_state_dict(loaded.state_dict())
    model.save_pretrained(part)
    tokenizer.save_pretrained(part)


def _publish(part: Path, folder: Path) -> None:
    try:
        part.rename(folder)
    except OSError:
        # Another process was faster; its folder has the same content.
        if not (folder / "config.json").is_file():
            raise
