"""Opening an ONNX Runtime session, and saying aloud when it is not on the device asked for."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import onnxruntime

from influence_store.errors import Incompatible
from influence_store.meter import on_gpu

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"

_log = logging.getLogger(__name__)
_FATAL_ONLY = 4  # an error comes as an exception too


def open_session(model: Path, *, gpu: bool | None = None, require_gpu: bool = False) -> Any:
    """A session for `model`; `gpu` None = if this machine shows an NVIDIA device.

    ONNX Runtime lists CUDA as available on machines without it and then quietly computes on the
    CPU. So the providers of the finished session are compared with the ones asked for: a warning
    says what was got instead, and with `require_gpu` it is Incompatible.
    """
    asked = [CUDA, CPU] if require_gpu or (has_gpu() if gpu is None else gpu) else [CPU]
    offered = [name for name in asked if name in onnxruntime.get_available_providers()]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    # One thread per run: a result then never depends on how many cores share the work.
    # Parallelism comes from running several texts at once.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # it pays for equal shapes only
    try:
        session = onnxruntime.InferenceSession(str(model), options, providers=offered or [CPU])
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise Incompatible(
            f"ONNX Runtime cannot load {model}: {error}", hint="fetch or convert the model again"
        ) from error
    got = session.get_providers()
    if got[0] != asked[0]:
        fix = "pip install onnxruntime-gpu and CUDA 12 with cuDNN 9, or check nvidia-smi"
        if require_gpu:
            raise Incompatible(f"asked ONNX Runtime for {asked[0]}, got {got[0]}", hint=fix)
        _log.warning("asked ONNX Runtime for %s, got %s: slower; %s", asked[0], got[0], fix)
    if got[0] == CUDA:
        on_gpu()
    return session


def has_gpu() -> bool:
    """Whether this machine shows an NVIDIA device or its tool."""
    return Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is not None
