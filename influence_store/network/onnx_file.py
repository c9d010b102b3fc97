"""May this file be run, on these features, and where? An estimator's ONNX file, opened and checked.

Whatever the bytes are, the answer is a session or Incompatible: files may come from other stores.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import orjson

from influence_store.errors import Incompatible
from influence_store.meter import on_gpu
from influence_store.schema.estimator import ONNX_FORMAT, SCORE_FORMAT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from influence_store.network.features import Features
    from influence_store.protocols import Floats

Device = Literal["auto", "cpu", "gpu"]

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

# What a file must offer besides its metadata: inputs, outputs.
_OFFERED = {
    ONNX_FORMAT: (
        {"target_features", "source_features", "target_vectors", "source_vectors"},
        {"target_vector", "source_vector", "influence"},
    ),
    SCORE_FORMAT: ({"features"}, {"score"}),
}
_FACTS = {"network": str, "features": list, "dims": list, "fingerprints": dict}
_FACTS_OF_PAIRS = {"width": int, "head": str, "panel_ids": list}
_TRAIN_AGAIN = "train it again: influence-store train …"
_FATAL_ONLY = 4  # an error comes as an exception too

_log = logging.getLogger(__name__)


def open_onnx(content: bytes, device: Device, form: str) -> tuple[Any, str, dict[str, Any]]:
    """A session, its provider and the file's metadata; Incompatible unless it is a `form`."""
    _refuse_outside_data(content)
    session, provider = _session(content, device)
    written = session.get_modelmeta().custom_metadata_map
    if written.get("format") != f'"{form}"':
        raise Incompatible(
            f"the ONNX file has format {written.get('format', 'none')}, expected {form!r}",
            hint=_TRAIN_AGAIN,
        )
    metadata = _metadata(written, _FACTS | (_FACTS_OF_PAIRS if form == ONNX_FORMAT else {}))
    inputs, outputs = _OFFERED[form]
    # An input that has a default is called an overridable initializer.
    taken = [*session.get_inputs(), *session.get_overridable_initializers()]
    given = session.get_outputs()
    lacking = (inputs - {one.name for one in taken}) | (outputs - {one.name for one in given})
    if lacking:
        raise Incompatible(f"the ONNX file has no {', '.join(sorted(lacking))}", hint=_TRAIN_AGAIN)
    return session, provider, metadata


def run_onnx(session: Any, output: str, inputs: Mapping[str, Floats], reader: str) -> Floats:
    """One output; Incompatible where the graph of `reader` cannot take the inputs or fails."""
    try:
        result: Floats = session.run([output], dict(inputs))[0]
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise Incompatible(
            f"the graph of {reader} fails: {_first_line(error)}", hint=_TRAIN_AGAIN
        ) from error
    return result


def check_finite(values: Floats, shape: tuple[int, ...], reader: str) -> Floats:
    """`values`; Incompatible unless they are finite numbers of this shape."""
    if values.shape != shape:
        raise Incompatible(
            f"the graph of {reader} gives values of shape {values.shape}, expected {shape}",
            hint=_TRAIN_AGAIN,
        )
    if not np.isfinite(values).all():
        raise Incompatible(
            f"the graph of {reader} gives NaN or infinity for {int((~np.isfinite(values)).sum())} "
            f"of {values.size} values; nothing of them was stored",
            hint=_TRAIN_AGAIN,
        )
    return values


def check_inputs(
    metadata: Mapping[str, Any], features: Features, fingerprints: Mapping[str, str]
) -> None:
    """Incompatible unless blocks, widths and producers are those that the file's metadata name."""
    reader = f"estimator {metadata['network']!r}"
    given = dict(zip(features.names, features.dims, strict=True))
    for name, dim in zip(metadata["features"], metadata["dims"], strict=True):
        if given.get(name) != dim:
            raise Incompatible(
                f"{reader} reads {name!r} with {dim} columns, found {given.get(name, 'none')}",
                hint="embed with the embedder it was trained on, or train again",
            )
    for name, trained_on in metadata["fingerprints"].items():
        if fingerprints.get(name) != trained_on:
            raise Incompatible(
                f"{reader} was trained on {name!r} with fingerprint {trained_on}, found "
                f"{fingerprints.get(name, 'none')}",
                hint="embed with the embedder it was trained on, or train again: "
                "influence-store train …",
            )


def _refuse_outside_data(content: bytes) -> None:
    """An estimator is one file, the one whose hash the catalog vouches for.

    ONNX names outside data by an entry `location`; our own graphs never say the word.
    """
    if b"location" in content:
        raise Incompatible(
            "the ONNX file keeps data outside itself, which nobody vouches for", hint=_TRAIN_AGAIN
        )


def _metadata(written: Mapping[str, str], facts: Mapping[str, type]) -> dict[str, Any]:
    try:
        metadata = {key: orjson.loads(text) for key, text in written.items()}
        wrong = [name for name, kind in facts.items() if not isinstance(metadata[name], kind)]
    except (orjson.JSONDecodeError, KeyError) as error:
        raise Incompatible(
            f"the ONNX file does not say what it reads: {error}", hint=_TRAIN_AGAIN
        ) from error
    if wrong or len(metadata["features"]) != len(metadata["dims"]):
        raise Incompatible(
            f"the ONNX file does not say what it reads: {', '.join(wrong) or 'dims'}",
            hint=_TRAIN_AGAIN,
        )
    return metadata


def _session(content: bytes, device: Device) -> tuple[Any, str]:
    """A session and the provider it got; a GPU asked for and not got is told, or refused."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # runs share the cores
    wants_gpu = device == "gpu" or (device == "auto" and _driver_present())
    offered = CUDA in ort.get_available_providers()
    asked = [CUDA, CPU] if wants_gpu and offered else [CPU]
    try:
        session = ort.InferenceSession(content, options, providers=asked)
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise Incompatible(
            f"ONNX Runtime cannot load the estimator: {_first_line(error)}", hint=_TRAIN_AGAIN
        ) from error
    got = session.get_providers()[0]
    if wants_gpu and got != CUDA:
        story = f"a GPU was asked for; ONNX Runtime gives {got} (asked: {', '.join(asked)})"
        if device == "gpu":
            raise Incompatible(
                story, hint="install onnxruntime-gpu with its CUDA libraries, or use --device cpu"
            )
        _log.warning("%s; the run continues on the CPU", story)
    if got == CUDA:
        on_gpu()
    return session, got


def _driver_present() -> bool:
    """Whether this machine has an NVIDIA driver at all."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__
