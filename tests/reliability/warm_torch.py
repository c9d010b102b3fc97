"""The same for verbs that run a language model or a network, or select: seconds of imports each."""

from __future__ import annotations

import warnings

import alembic.command  # noqa: F401
import crepes  # noqa: F401
import duckdb  # noqa: F401
import numba  # noqa: F401
import onnx  # noqa: F401
import onnxruntime  # noqa: F401
import scipy.sparse.linalg  # noqa: F401
import torch  # noqa: F401
import transformers.models.auto.modeling_auto
import transformers.models.llama.modeling_llama  # noqa: F401

import influence_store.influence.delift
import influence_store.jobs.choose
import influence_store.jobs.fill
import influence_store.jobs.label
import influence_store.jobs.train  # noqa: F401

# crepes turns every warning on again, also the one that `warm` silences.
warnings.filterwarnings("ignore", message="lance is not fork-safe")
