"""What a model folder says about itself: pooling, length limit, prefix.

Reads the files that sentence-transformers writes. Whatever would change a vector and cannot be
honoured is refused, never ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from influence_store.errors import Incompatible, NotFound

if TYPE_CHECKING:
    from pathlib import Path

POOLINGS = ("cls", "mean", "max", "lasttoken")

# The boolean keys that the pooling file had before it had one `pooling_mode`.
_OLD_POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
_MODULES = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True)
class ModelFolder:
    """Where a transformer lies and how its token vectors become one vector per text."""

    path: Path
    pooling: str
    max_length: int
    prefix: str
    lower_case: bool
    pad_id: int

    @property
    def tokenizer(self) -> Path:
        """The fast tokenizer's file."""
        return self.path / "tokenizer.json"


def read_folder(path: Path) -> ModelFolder:
    """Read the settings of the model in `path`.

    NotFound if it is no model folder; Incompatible if it wants a step that is not offered here.
    """
    if not (path / "tokenizer.json").is_file():
        found = ", ".join(sorted(p.name for p in path.iterdir())[:8]) or "nothing"
        raise NotFound(
            f"{path} is not a model folder: no tokenizer.json (found {found})",
            hint="give a folder with tokenizer.json, 1_Pooling/config.json and model.onnx or "
            "model.safetensors",
        )
    try:
        return _folder(path)
    except (AttributeError, TypeError, ValueError) as error:
        raise Incompatible(
            f"the settings in {path} are not those of a model: {error}", hint="fetch it again"
        ) from error


def _folder(path: Path) -> ModelFolder:
    """Any other error means that a setting has another type than it has everywhere."""
    _check_modules(path)
    pooling = _pooling(path)
    prompts = _json(path / "config_sentence_transformers.json")
    default = prompts.get("default_prompt_name")
    transformer = _json(path / "sentence_bert_config.json")
    config = _json(path / "config.json")
    return ModelFolder(
        path=path,
        pooling=pooling,
        max_length=_max_length(path, transformer, config),
        prefix=str(prompts.get("prompts", {}).get(default, "")) if default else "",
        lower_case=bool(transformer.get("do_lower_case")),
        pad_id=int(config.get("pad_token_id") or 0),
    )


def _check_modules(path: Path) -> None:
    modules = _read(path / "modules.json") or []
    extra = [kind for kind in (m["type"].split(".")[-1] for m in modules) if kind not in _MODULES]
    if extra:
        raise Incompatible(
            f"{path} adds {', '.join(extra)} after pooling, which the ONNX engine does not run",
            hint=f"say --embedder sentence-transformers:{path}",
        )


def _pooling(path: Path) -> str:
    settings = _json(path / "1_Pooling" / "config.json")
    if not settings:
        raise Incompatible(
            f"{path} does not say how token vectors are pooled: no 1_Pooling/config.json",
            hint='its model card does; for mean pooling write {"pooling_mode": "mean"} there',
        )
    told = settings.get("pooling_mode") or [
        mode for key, mode in _OLD_POOLING.items() if settings.get(key)
    ]
    modes = [told] if isinstance(told, str) else list(told)
    if len(modes) != 1 or modes[0] not in POOLINGS or not settings.get("include_prompt", True):
        without = "" if settings.get("include_prompt", True) else " without the prompt's tokens"
        raise Incompatible(
            f"{path} pools by {' + '.join(modes) or 'nothing'}{without}; the ONNX engine offers "
            f"one of {', '.join(POOLINGS)} over all tokens",
            hint=f"say --embedder sentence-transformers:{path}",
        )
    return str(modes[0])


def _max_length(path: Path, transformer: dict[str, Any], config: dict[str, Any]) -> int:
    if told := transformer.get("max_seq_length"):
        if int(told) < 1:
            raise ValueError(f"max_seq_length is {told}")
        return int(told)
    limits = [
        _json(path / "tokenizer_config.json").get("model_max_length"),
        config.get("max_position_embeddings"),
    ]
    # Tokenizers write 1e30 for "no limit".
    known = [int(limit) for limit in limits if limit and limit < 1_000_000]
    if not known:
        raise Incompatible(
            f"{path} does not say how many tokens its model reads",
            hint='write {"max_seq_length": N} into its sentence_bert_config.json',
        )
    return min(known)


def _json(file: Path) -> dict[str, Any]:
    found = _read(file)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Incompatible(f"{file} holds no JSON object", hint="fetch the model again")
    return found


def _read(file: Path) -> Any:
    """What a JSON file holds; None where there is no such file."""
    if not file.is_file():
        return None
    try:
        return orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        raise Incompatible(f"{file} is not JSON: {error}", hint="fetch the model again") from error
