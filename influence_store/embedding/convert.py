"""From a model folder to an ONNX graph: the one it has, or one exported from its weights.

Which identity does an exported graph have? Its bytes change with the version of torch, its
vectors only by rounding. So it is known by what it was made from (config.json and weights) and by
the number of this recipe: two machines that export separately agree on the fingerprint. The
parity check keeps that promise honest, and the file's own digest, noted beside it, guards the
cache.
"""

from __future__ import annotations

import logging
import mmap
import re
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from influence_store.embedding.digest import file_digest, files_digest
from influence_store.embedding.pooling import pool
from influence_store.embedding.session import open_session
from influence_store.embedding.vectors import unit_rows
from influence_store.errors import Incompatible, NotFound
from influence_store.extras import require

#: Raise when a change below may move vectors by more than rounding.
RECIPE = "torch-onnx-1"
#: Largest difference allowed between torch's and ONNX Runtime's unit vectors.
TOLERANCE = 1e-5

_TOOLS = ("torch", "transformers")
_OPSET = 17
_LARGEST_BYTES = 1_900_000_000
# In protobuf: the entry `location` of a tensor's external data, and the length of its value.
_OUTSIDE = re.compile(rb"\n\x08location\x12([\x00-\xff])", re.DOTALL)
_BESIDE = re.compile(rb"model\.onnx[\w.-]*")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Graph:
    """A runnable file, and the identity of the weights in it."""

    path: Path
    weights: str


def find_graph(folder: Path, cache: Path) -> Graph:
    """The graph of the model in `folder`, exported below `cache` on first use.

    NotFound if there are neither graph nor weights; MissingExtra if an export needs torch;
    Incompatible if the exported graph does not compute what torch computes, or a graph keeps
    weights where its digest does not see them.
    """
    for ready in (folder / "model.onnx", folder / "onnx" / "model.onnx"):
        if ready.is_file():
            _check_outside_data(ready)
            return Graph(ready, _graph_digest(ready))
    weights = sorted(folder.glob("model*.safetensors"))
    config = folder / "config.json"
    if not weights or not config.is_file():
        found = ", ".join(sorted(p.name for p in folder.iterdir())[:12])
        raise NotFound(
            f"{folder} holds no model: expected model.onnx, or config.json with "
            f"model.safetensors (found {found})",
            hint="pickled weights (.bin) are never loaded; get the safetensors or ONNX files",
        )
    source = files_digest(folder, [config, *weights])
    home = cache / "onnx" / f"{source[:16]}-{RECIPE}"
    if not _sound(home):
        _export_into(home, folder, source)
    return Graph(home / "model.onnx", f"{RECIPE}:{source}")


def _check_outside_data(graph: Path) -> None:
    """Weights beside the graph are part of its identity, so they must lie where that looks."""
    if not graph.stat().st_size:
        return  # no graph at all, as ONNX Runtime will say
    with graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        names = {content[at.end() : at.end() + at[1][0]] for at in _OUTSIDE.finditer(content)}
    strange = sorted(name for name in names if not _BESIDE.fullmatch(name))
    if strange:
        raise Incompatible(
            f"{graph} keeps weights in {strange[0].decode(errors='backslashreplace')!r}, expected "
            "model.onnx_data beside it",
            hint="save it as one file: onnx.save(onnx.load(MODEL), NEW)",
        )


def _graph_digest(graph: Path) -> str:
    files = sorted(graph.parent.glob("model.onnx*"))
    return file_digest(graph) if files == [graph] else files_digest(graph.parent, files)


def _sound(home: Path) -> bool:
    """Whether the cache still holds the bytes that were checked when they were written."""
    if not home.exists():
        return False
    graph, note = home / "model.onnx", home / "source.json"
    if graph.is_file() and note.is_file():
        try:
            if orjson.loads(note.read_bytes())["graph_sha256"] == _graph_digest(graph):
                return True
        except (orjson.JSONDecodeError, KeyError, TypeError):
            pass
    _log.warning("the converted model in %s is damaged; converting again", home)
    shutil.rmtree(home)
    return False


def _export_into(home: Path, folder: Path, source: str) -> None:
    home.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f"{home.name}.part-", dir=home.parent))
    try:
        _log.info("exporting %s to ONNX (once; kept in %s)", folder, home)
        difference = _export(folder, part / "model.onnx")
        note = {
            "source": source,
            "recipe": RECIPE,
            "graph_sha256": _graph_digest(part / "model.onnx"),
            "max_difference_to_torch": difference,
            "versions": {name: require(name, extra="train").__version__ for name in _TOOLS},
        }
        (part / "source.json").write_bytes(orjson.dumps(note, option=orjson.OPT_INDENT_2))
        try:
            part.rename(home)
        except OSError:
            if not _sound(home):  # otherwise another process was first, with the same thing
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _export(folder: Path, target: Path) -> float:
    """Write the graph; return how far it is from torch (Incompatible above TOLERANCE)."""
    torch, transformers = (require(name, extra="train") for name in _TOOLS)
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModel.from_pretrained(
        folder, dtype=torch.float32, trust_remote_code=False, local_files_only=True
    )
    size = sum(one.numel() * one.element_size() for one in model.parameters())
    if size > _LARGEST_BYTES:
        raise Incompatible(
            f"{folder} has {size / 1e9:.1f} GB of fp32 weights; one ONNX file holds less than 2 GB",
            hint=f"say --embedder sentence-transformers:{folder}",
        )
    module = _token_vectors(torch, model)
    axes = {0: "batch", 1: "length"}
    with warnings.catch_warnings():
        # Tracing warns of branches it cannot follow. The parity check below, on other shapes than
        # the traced one, shows whether they mattered.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(torch.from_numpy(one) for one in _example(3, 17, model.config.vocab_size)),
            str(target),
            # The newer exporter makes an equal graph, but took 12 s where this one takes 3.
            dynamo=False,
            input_names=["input_ids", "attention_mask"],
            output_names=["last_hidden_state"],
            dynamic_axes=dict.fromkeys(["input_ids", "attention_mask", "last_hidden_state"], axes),
            opset_version=_OPSET,
        )
    difference = _difference(torch, module, target, model.config.vocab_size)
    if not difference <= TOLERANCE:
        raise Incompatible(
            f"the ONNX graph of {folder} differs from torch by {difference:.1e} (allowed "
            f"{TOLERANCE:.0e})",
            hint=f"say --embedder sentence-transformers:{folder}",
        )
    return difference


def _token_vectors(torch: Any, model: Any) -> Any:
    """A module (ids, mask), both (n, length) → last hidden state (n, length, dim)."""

    class TokenVectors(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    # eval() on the outer module: the exporter puts every part back into the mode of that one.
    return TokenVectors().eval()


def _difference(torch: Any, module: Any, target: Path, vocabulary: int) -> float:
    """Largest |Δ| of mean-pooled unit vectors, over several shapes."""
    session = open_session(target, gpu=False)
    worst = 0.0
    for rows, width in ((1, 2), (1, 33), (3, 17), (4, 64)):
        ids, mask = _example(rows, width, vocabulary)
        with torch.no_grad():
            expected = module(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
        (found,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
        pair = [unit_rows(pool(one, mask, "mean"), target.name) for one in (expected, found)]
        worst = max(worst, float(np.abs(pair[0] - pair[1]).max()))
    return worst


def _example(rows: int, width: int, vocabulary: int) -> tuple[Any, Any]:
    """Random token ids and masks of different lengths, the same every time."""
    ids = np.random.default_rng(width).integers(0, vocabulary, (rows, width))
    lengths = np.maximum(2, width - np.arange(rows) * (width // 5))
    return ids, (np.arange(width)[None, :] < lengths[:, None]).astype(np.int64)
