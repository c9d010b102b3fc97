"""The tiny LLM as one quantised GGUF file, with the names and the order of rows of the format."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

#: transformers adds this one to the tokens of such a file unless it is among them.
MARKER = "<|endoftext|>"
_OF_A_LAYER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_OF_THE_MODEL = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}


def write_tiny_gguf(llama: Path, file: Path) -> Path:
    """Write the llama in the folder `llama` to `file`, its matrices in eight bits."""
    from gguf import GGUFWriter

    config = json.loads((llama / "config.json").read_text())
    writer = GGUFWriter(file, "llama")
    _write_shape(writer, config)
    _write_vocabulary(writer, json.loads((llama / "tokenizer.json").read_text()), config)
    _write_weights(writer, llama, config)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _write_shape(writer: Any, config: dict[str, Any]) -> None:
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])


def _write_vocabulary(writer: Any, tokenizer: dict[str, Any], config: dict[str, Any]) -> None:
    from gguf import TokenType

    (marker,) = tokenizer["added_tokens"]
    ids = {**tokenizer["model"]["vocab"], MARKER: marker["id"]}
    tokens = sorted(ids, key=lambda token: ids[token])
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [TokenType.CONTROL if token == MARKER else TokenType.NORMAL for token in tokens]
    )
    writer.add_token_merges([" ".join(merge) for merge in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])


def _write_weights(writer: Any, llama: Path, config: dict[str, Any]) -> None:
    from gguf import GGMLQuantizationType, quants
    from safetensors.numpy import load_file

    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for name, weight in load_file(llama / "model.safetensors").items():
        projection = name.split(".")[-2]
        if projection in heads:
            weight = _interleaved(weight, heads[projection])
        if weight.ndim == 1:
            writer.add_tensor(_name(name), weight)
            continue
        eight_bits = GGMLQuantizationType.Q8_0
        writer.add_tensor(_name(name), quants.quantize(weight, eight_bits), raw_dtype=eight_bits)


def _name(name: str) -> str:
    module, kind = name.rsplit(".", 1)
    if module in _OF_THE_MODEL:
        return f"{_OF_THE_MODEL[module]}.{kind}"
    _, _, layer, part = module.split(".", 3)
    return f"blk.{layer}.{_OF_A_LAYER[part]}.{kind}"


def _interleaved(weight: np.ndarray, n_heads: int) -> np.ndarray:
    """The two halves of a rotation lie side by side here, one after another in transformers."""
    rows, columns = weight.shape
    halves = weight.reshape(n_heads, 2, rows // n_heads // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, columns))
