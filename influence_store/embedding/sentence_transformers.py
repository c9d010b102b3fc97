"""The sentence-transformers engine, for models whose pipeline the ONNX engine does not run.

Slower than ONNX: texts go one by one, because that library pads a batch to its longest text and
a vector would depend on its neighbours in the last bits.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.embedding.digest import files_digest
from influence_store.embedding.text import DEFAULT_TEMPLATE, check_template
from influence_store.embedding.vectors import unit_rows
from influence_store.errors import Incompatible, NotFound
from influence_store.extras import require
from influence_store.meter import on_gpu
from influence_store.protocols import Encoded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from influence_store.embedding.opening import EmbedderOptions

_IDENTITY = ("*.json", "*.txt", "*.model", "*.safetensors")


def open_sentence_transformer(
    location: str, options: EmbedderOptions
) -> SentenceTransformerEmbedder:
    """The model folder at `location`."""
    return SentenceTransformerEmbedder(
        Path(location),
        template=options.template,
        prefix=options.prefix,
        require_gpu=options.require_gpu,
    )


class SentenceTransformerEmbedder:
    """Encodes with the model in `folder`; no code from the folder is run."""

    def __init__(
        self,
        folder: Path,
        *,
        template: str = DEFAULT_TEMPLATE,
        prefix: str | None = None,
        require_gpu: bool = False,
    ) -> None:
        files = [file for kind in _IDENTITY for file in folder.rglob(kind)]
        if not any(file.suffix == ".safetensors" for file in files):
            raise NotFound(
                f"{folder} holds no .safetensors weights",
                hint="pickled weights (.bin) are never loaded; get the model's safetensors files",
            )
        library = require("sentence_transformers", extra="sentence-transformers")
        self._model = library.SentenceTransformer(
            str(folder),
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True, "dtype": "float32"},
        )
        if self._model.device.type == "cuda":
            on_gpu()
        elif require_gpu:
            raise Incompatible(
                f"asked for a GPU, torch offers {self._model.device}", hint="check nvidia-smi"
            )
        self.device = str(self._model.device)
        self.name = folder.absolute().name
        self.dim = int(self._model.get_embedding_dimension())
        prompts, default = self._model.prompts or {}, self._model.default_prompt_name
        own = prompts.get(default, "") if default else ""
        self._prefix = own if prefix is None else prefix
        self._facts = {
            "engine": "sentence-transformers",
            "weights": files_digest(folder, files),
            "prefix": self._prefix,
            "template": check_template(template),
            "max_length": self._model.max_seq_length,
            "normalise": True,
            "dtype": "float32",
        }

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything that changes a vector; tokenizer and pooling lie in the hashed files."""
        return self._facts

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Vectors (n, dim) and which texts were cut. Row k depends on text k alone."""
        raw = self._model.encode(
            list(texts), prompt=self._prefix, batch_size=1, show_progress_bar=False
        )
        truncated = np.array([self._is_cut(text) for text in texts], np.bool_)
        return Encoded(unit_rows(np.reshape(raw, (len(texts), self.dim)), self.name), truncated)

    def _is_cut(self, text: str) -> bool:
        """The library cuts without a word, so the tokens are counted here."""
        limit = self._model.max_seq_length
        if limit is None:
            return False
        tokens = self._model.tokenizer(self._prefix + text, truncation=False, verbose=False)
        return len(tokens.input_ids) > int(limit)
