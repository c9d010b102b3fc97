"""How are numbers read from a foreign file without running anything that it contains?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.errors import Forbidden, InputError
from influence_store.extras import require

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

#: Stored number types by the names that safetensors, numpy and bergson give them.
_FLOATS = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "float64": "<f8",
    "float32": "<f4",
    "float16": "<f2",
}
_BFLOAT16 = ("BF16", "bfloat16")


_AS_TENSOR = "save it again as one tensor: torch.save(torch.as_tensor(scores).cpu(), FILE)"
# How torch says that a file wants a function to be called while it is read.
_CODE = re.compile(r"Unsupported (?:global: GLOBAL|class) ([\w.]+)")


def torch_tensor(path: Path) -> npt.NDArray[Any]:
    """The one tensor of a `.pt` file, read with `weights_only`: nothing else is unpickled.

    Forbidden if the file would have to run code.
    """
    torch = require("torch", extra="train")
    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen types for a file that is not its own
        if asked := _CODE.search(str(error)):
            raise _runs_code(path, asked[1]) from error
        if _is_pickle(path):
            raise _runs_code(path, "whatever was pickled") from error
        raise InputError(f"cannot read {path} as tensors only", hint=_AS_TENSOR) from error
    if isinstance(value, list):
        value = torch.tensor(value)
    if not torch.is_tensor(value) or value.is_complex():
        raise InputError(
            f"{path} holds a {type(value).__name__}, expected one tensor of numbers",
            hint="torch.save(scores, FILE)",
        )
    return np.asarray(value.detach().to(torch.float32).numpy())


def numpy_array(path: Path) -> npt.NDArray[Any]:
    """The numbers of a `.npy` file; Forbidden if they would have to be unpickled."""
    try:
        # Mapped, so that a header which promises more than the file holds allocates nothing.
        value = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        if "Python objects" in str(error) or "Object arrays" in str(error) or _is_pickle(path):
            raise _runs_code(path, "whatever was pickled") from error
        raise InputError(f"cannot read {path} as an array of numbers: {error}") from error
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
        raise InputError(
            f"{path} holds {getattr(value, 'dtype', 'several arrays')}, expected real numbers",
            hint="numpy.save(FILE, scores.astype(numpy.float32))",
        )
    return np.array(value)


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1) == b"\x80"


def _runs_code(path: Path, what: str) -> Forbidden:
    return Forbidden(f"{path} would run code while it is read ({what}): refused", hint=_AS_TENSOR)


def safe_tensors(path: Path) -> dict[str, npt.NDArray[Any]]:
    """All tensors of a `.safetensors` file, bfloat16 widened to float32."""
    safetensors = require("safetensors", extra="train")
    try:
        stored = safetensors.deserialize(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise InputError(f"cannot read {path} as safetensors: {error}") from error
    return {
        name: decoded(bytes(one["data"]), one["dtype"], path).reshape(one["shape"])
        for name, one in stored
    }


def stored_dtype(name: str, path: Path) -> np.dtype[Any]:
    """The numpy type of a stored number type; bfloat16 comes as its 16 bits, see `widened`."""
    if name in _BFLOAT16:
        return np.dtype("<u2")
    if name not in _FLOATS:
        known = ", ".join((*_FLOATS, *_BFLOAT16))
        raise InputError(f"{path} stores numbers as {name!r:.40}, expected one of {known}")
    return np.dtype(_FLOATS[name])


def widened(values: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Numbers of stored type `name`; bfloat16 is the upper half of a float32."""
    if name in _BFLOAT16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values


def decoded(content: bytes, name: str, path: Path) -> npt.NDArray[Any]:
    """Flat numbers from their bytes."""
    return widened(np.frombuffer(content, stored_dtype(name, path)), name)
