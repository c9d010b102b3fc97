"""On which device does ONNX Runtime compute? Asked by running one addition and its profile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
import orjson

from influence_store.embedding.session import CPU, CUDA, has_gpu

#: y = x + x for one float32, opset 13: a whole ONNX model.
_ADDITION = (
    b'\x08\x08:5\n\x0e\n\x01x\n\x01x\x12\x01y"\x03Add\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01'
    b"\x12\x04\n\x02\x08\x01b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)
_FATAL = 4


@dataclass(frozen=True)
class Provider:
    """The execution provider that computed, and whether this machine shows an NVIDIA device."""

    name: str
    machine_has_gpu: bool

    @property
    def on_gpu(self) -> bool:
        """Was it the GPU?"""
        return self.name != CPU


def provider_used() -> Provider:
    """Ask for what `open_session` asks for, run, and read in the profile who did the work."""
    gpu = has_gpu()
    offered = onnxruntime.get_available_providers()
    asked = [name for name in ([CUDA, CPU] if gpu else [CPU]) if name in offered]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    options.enable_profiling = True
    with TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder, "profile"))
        session = onnxruntime.InferenceSession(_ADDITION, options, providers=asked)
        session.run(None, {"x": np.ones(1, np.float32)})
        events = orjson.loads(Path(session.end_profiling()).read_bytes())
    (name,) = {event["args"]["provider"] for event in events if "provider" in event.get("args", {})}
    return Provider(name, gpu)
