"""The same for verbs that run a language model or a network: torch and what reads its models."""

from __future__ import annotations

import duckdb  # noqa: F401
import onnx  # noqa: F401
import onnxruntime  # noqa: F401
import torch  # noqa: F401
import transformers.models.auto.modeling_auto
import transformers.models.llama.modeling_llama  # noqa: F401
