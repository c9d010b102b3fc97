"""From `--embedder WORD` to an embedder.

hashing | hashing:DIM      no model, words only
path/to/folder             a model folder, run by ONNX Runtime (converted once if need be)
org/model                  the same, fetched from the Hugging Face hub
ENGINE:path/to/folder      that engine instead, e.g. sentence-transformers:./my-model
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from influence_store.embedding.text import DEFAULT_TEMPLATE, check_template
from influence_store.errors import NotFound, UsageError
from influence_store.registry import Entry, Registry

if TYPE_CHECKING:
    from influence_store.protocols import Embedder

#: An entry is a function (location, options) -> Embedder; `location` is what follows the colon.
EMBEDDERS = Registry(
    "embedder",
    "influence_store.embedders",
    {
        "onnx": Entry(
            "influence_store.embedding.onnx:open_onnx",
            "a transformer folder, run by ONNX Runtime; the default for a folder or hub id",
        ),
        "sentence-transformers": Entry(
            "influence_store.embedding.sentence_transformers:open_sentence_transformer",
            "a sentence-transformers folder, run by that library; for models ONNX does not fit",
            extra="sentence-transformers",
        ),
        "hashing": Entry(
            "influence_store.embedding.hashing:open_hashing",
            "hashed words, no model: lexical only",
        ),
    },
)

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class EmbedderOptions:
    """What an engine may be told. `cache` keeps converted models; `prefix` None = the model's own.

    `threads` None = all this process may use. Only `template` and `prefix` change vectors.
    """

    cache: Path
    template: str = DEFAULT_TEMPLATE
    prefix: str | None = None
    threads: int | None = None
    require_gpu: bool = False


def open_embedder(
    spec: str,
    *,
    cache: Path,
    template: str = DEFAULT_TEMPLATE,
    prefix: str | None = None,
    threads: int | None = None,
    require_gpu: bool = False,
) -> Embedder:
    """Open the embedder that `spec` names (forms above); `cache` is where models are converted to.

    NotFound if there is no such folder, hub model or engine; Incompatible if the folder's model
    cannot be run; MissingExtra where an optional package is needed.
    """
    options = EmbedderOptions(cache, check_template(template), prefix, threads, require_gpu)
    engine, location = _split(spec)
    if engine == "hashing" and prefix:
        raise UsageError(f"the hashing embedder takes no prefix (found {prefix!r})")
    if engine not in ("onnx", "sentence-transformers"):
        return _open(engine, location, options)
    if not location:
        raise UsageError(f"{engine!r} needs a model", hint=f"say --embedder {engine}:FOLDER")
    return _open(engine, str(_model_folder(location, cache)), options)


def absolute_spec(spec: str) -> str:
    """`spec` as it can be opened from any working directory: a folder by its absolute path.

    A link stays one: the name of a folder is part of what an embedder is.
    """
    engine, location = _split(spec)
    folder = Path(location).expanduser()
    if engine == "hashing" or not folder.is_dir():
        return spec
    return f"{engine}:{os.path.abspath(folder)}"


def _open(engine: str, location: str, options: EmbedderOptions) -> Embedder:
    embedder: Embedder = EMBEDDERS.get(engine)(location, options)
    return embedder


def _split(spec: str) -> tuple[str, str]:
    engine, _, location = spec.partition(":")
    return (engine, location) if engine in EMBEDDERS.entries() else ("onnx", spec)


def _model_folder(location: str, cache: Path) -> Path:
    folder = Path(location).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise NotFound(
            f"{location} is a file, expected the folder of a model",
            hint=f"give its folder: --embedder {folder.parent}",
        )
    if _HUB_ID.fullmatch(location):
        from influence_store.embedding.hub import fetch

        return fetch(location, cache)
    if "/" in location or "\\" in location:
        raise NotFound(f"no folder {location}", hint="--embedder takes a model folder or a hub id")
    raise NotFound.named(
        "embedder",
        location,
        EMBEDDERS.entries(),
        hint="or give a model folder, or a hub id such as BAAI/bge-small-en-v1.5",
    )
