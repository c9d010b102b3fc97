"""The default engine: a transformer folder, run by ONNX Runtime and tokenizers, without torch.

On the CPU every text is one run of its own length, several at a time on different threads, each
run on one thread. So a vector cannot depend on the texts that were asked for with it or on the
number of cores, and nothing is spent on padding. It costs nothing either: with MiniLM, batches
of 8 or 32 equally long texts took between 4 % less and 20 % more CPU time per text. On a GPU
texts go in batches of one fixed shape per length class, filled up with empty rows.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from influence_store.embedding.convert import find_graph
from influence_store.embedding.digest import file_digest
from influence_store.embedding.folder import read_folder
from influence_store.embedding.pooling import pool
from influence_store.embedding.session import CUDA, open_session
from influence_store.embedding.text import DEFAULT_TEMPLATE, check_template
from influence_store.embedding.vectors import unit_rows
from influence_store.errors import Incompatible
from influence_store.protocols import Encoded, Floats, Ids

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from influence_store.embedding.opening import EmbedderOptions

_GPU_BATCH = 32
#: Lengths are rounded up to a multiple of this where batches have more than one row.
_WIDTH_STEP = 32
_INPUTS = frozenset(["input_ids", "attention_mask", "token_type_ids"])
_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}


def open_onnx(location: str, options: EmbedderOptions) -> OnnxEmbedder:
    """The model folder at `location`."""
    return OnnxEmbedder(
        Path(location),
        cache=options.cache,
        template=options.template,
        prefix=options.prefix,
        threads=options.threads,
        require_gpu=options.require_gpu,
    )


class OnnxEmbedder:
    """Encodes with the model in `folder`; vectors have unit length, so a dot product is a cosine.

    `folder` holds tokenizer.json, the pooling file and model.onnx; where it has model.safetensors
    instead, the graph is exported once into `cache` (needs the extra `train`). `prefix` replaces
    the folder's own default prompt. `batch` is rows per run: None = 1 on the CPU, 32 on a GPU.
    """

    def __init__(
        self,
        folder: Path,
        *,
        cache: Path,
        template: str = DEFAULT_TEMPLATE,
        prefix: str | None = None,
        threads: int | None = None,
        require_gpu: bool = False,
        batch: int | None = None,
    ) -> None:
        settings = read_folder(folder)
        graph = find_graph(folder, cache)
        self.name = folder.absolute().name
        self._settings = settings
        self._prefix = settings.prefix if prefix is None else prefix
        self._session = open_session(graph.path, require_gpu=require_gpu)
        on_gpu = self._session.get_providers()[0] == CUDA
        self.device = "cuda" if on_gpu else "cpu"
        self._batch = batch or (_GPU_BATCH if on_gpu else 1)
        self._threads = 1 if on_gpu else (threads or _cores())
        self._inputs = _inputs(self._session, folder)
        self._output, self.dim, dtype = _token_output(self._session, folder)
        self._tokenizer = _tokenizer(settings.tokenizer)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(settings.max_length)
        self._facts = {
            "engine": "onnx",
            "weights": graph.weights,
            "tokenizer": file_digest(settings.tokenizer),
            "pooling": settings.pooling,
            "prefix": self._prefix,
            "template": check_template(template),
            "max_length": settings.max_length,
            "lower_case": settings.lower_case,
            "normalise": True,
            "dtype": dtype,
        }

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything that changes a vector by more than rounding.

        The device is not among them: CPU models differ in the last bits (≈ 1e-7), and a team
        that shares a store should share vectors.
        """
        return self._facts

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Vectors (n, dim) and which texts were cut to the model's length limit.

        Row k depends on text k alone. InputError names a text whose vector is not usable.
        """
        tokens = self._tokenizer.encode_batch([self._prepared(text) for text in texts])
        ids = [np.asarray(one.ids, np.int64) for one in tokens]
        truncated = np.array([bool(one.overflowing) for one in tokens], np.bool_)
        raw = np.zeros((len(texts), self.dim), np.float32)
        workers = ThreadPoolExecutor(self._threads)
        try:
            runs = [
                (rows, workers.submit(self._run, [ids[row] for row in rows], width))
                for rows, width in _batches([len(one) for one in ids], self._batch)
            ]
            for rows, run in runs:
                raw[rows] = run.result()
        finally:
            workers.shutdown(cancel_futures=True)
        return Encoded(unit_rows(raw, self.name), truncated)

    def _prepared(self, text: str) -> str:
        text = self._prefix + text
        return text.lower() if self._settings.lower_case else text

    def _run(self, ids: Sequence[Ids], width: int) -> Floats:
        """Pooled vectors (len(ids), dim) from one run of `batch` rows of `width` tokens."""
        shape = (self._batch, width)
        tokens = np.full(shape, self._settings.pad_id, np.int64)
        mask = np.zeros(shape, np.int64)
        mask[len(ids) :, 0] = 1  # a row that attends to nothing would be NaN
        for row, one in enumerate(ids):
            tokens[row, : len(one)] = one
            mask[row, : len(one)] = 1
        given = {
            "input_ids": tokens,
            "attention_mask": mask,
            "token_type_ids": np.zeros(shape, np.int64),
        }
        feeds = {name: given[name] for name in self._inputs}
        hidden = self._hidden(feeds)
        return pool(hidden[: len(ids)], mask[: len(ids)], self._settings.pooling)

    def _hidden(self, feeds: Mapping[str, Ids]) -> Floats:
        """Token vectors (batch, width, dim) as the graph promised them."""
        try:
            hidden: Floats = self._session.run([self._output], feeds)[0]
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            raise Incompatible(
                f"the graph of {self.name} fails: {str(error).splitlines()[0][:300]}",
                hint="fetch or convert the model again",
            ) from error
        if hidden.shape != (expected := (*feeds["input_ids"].shape, self.dim)):
            raise Incompatible(
                f"the graph of {self.name} gives {hidden.shape}, expected {expected}",
                hint="export it for the task feature-extraction",
            )
        return hidden


def _tokenizer(file: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the tokenizers library raises bare Exceptions
        raise Incompatible(
            f"{file} is no tokenizer: {error}", hint="fetch the model again"
        ) from error


def _cores() -> int:
    """Cores this process may use; fewer than the machine has inside a container."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _batches(lengths: Sequence[int], size: int) -> Iterator[tuple[list[int], int]]:
    """Rows that run together, and their common width; one by one at its own length for size 1."""
    if size == 1:
        yield from (([row], length) for row, length in enumerate(lengths))
        return
    classes: dict[int, list[int]] = {}
    for row, length in enumerate(lengths):
        classes.setdefault(-(-length // _WIDTH_STEP) * _WIDTH_STEP, []).append(row)
    for width, rows in sorted(classes.items()):
        for start in range(0, len(rows), size):
            yield rows[start : start + size], width


def _inputs(session: Any, folder: Path) -> list[str]:
    names = [given.name for given in session.get_inputs()]
    if "input_ids" not in names or not _INPUTS.issuperset(names):
        raise Incompatible(
            f"the graph of {folder} takes {', '.join(names)}; expected input_ids, attention_mask "
            "and at most token_type_ids",
            hint="export it for the task feature-extraction",
        )
    return names


def _token_output(session: Any, folder: Path) -> tuple[str, int, str]:
    """Name, dimension and number type of the output with one vector per token."""
    outputs = session.get_outputs()
    for output in outputs:
        if len(output.shape) == 3 and isinstance(output.shape[2], int) and output.type in _TYPES:
            return output.name, output.shape[2], _TYPES[output.type]
    found = ", ".join(f"{output.name} {output.shape}" for output in outputs)
    raise Incompatible(
        f"the graph of {folder} gives {found}; expected one vector per token (batch, length, dim)",
        hint="export it for the task feature-extraction",
    )
