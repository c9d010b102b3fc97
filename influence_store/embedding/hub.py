"""Fetching a model folder from the Hugging Face hub, where there is a way to it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from influence_store.errors import NotFound, Unreachable
from influence_store.extras import require

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)

# Data only: code, pickled weights and the other frameworks' weights stay where they are.
_WANTED = [
    *("*.json", "*.txt", "tokenizer.model", "*.safetensors"),
    *("model.onnx", "model.onnx_data", "onnx/model.onnx", "onnx/model.onnx_data"),
]


def fetch(hub_id: str, cache: Path) -> Path:
    """The local folder of `hub_id`: `cache`/hub/ORG/NAME, filled on first use.

    NotFound if the hub has no such model; StorageError if the hub cannot be reached.
    """
    folder = cache / "hub" / hub_id
    done = folder / ".complete"
    if done.exists():
        return folder
    hub = require("huggingface_hub", extra="train")
    _log.info("fetching %s from the hub into %s", hub_id, folder)
    try:
        hub.snapshot_download(hub_id, local_dir=folder, allow_patterns=_WANTED)
    except hub.errors.RepositoryNotFoundError as error:
        raise NotFound(
            f"neither a folder nor a hub model is named {hub_id!r}",
            hint="check the spelling; a private model needs HF_TOKEN",
        ) from error
    except Exception as error:  # the hub client fails offline in many types of three libraries
        raise Unreachable(
            f"{hub_id!r} is not a folder here, and the Hugging Face hub cannot be reached "
            f"({type(error).__name__})",
            hint=f"on a connected machine: hf download {hub_id} --local-dir model; copy the folder "
            "here and say --embedder ./model",
        ) from error
    done.touch()
    return folder
