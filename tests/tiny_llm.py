"""A causal LM of a few thousand random weights, written as an ordinary transformers folder."""

from __future__ import annotations

from pathlib import Path

EOS = "<|end|>"
# The only merge: "\n" followed by "a" is one token, unless the two are tokenised apart.
MERGE = ("Ċ", "a")

_SIZE = {
    "llama": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    "mistral": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "sliding_window": 16,
    },
    # Gemma 2 squeezes its logits after the vocabulary projection: a scorer must not lose that.
    "gemma2": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "sliding_window": 16,
        "final_logit_softcapping": 2.0,
    },
    "gpt2": {"n_embd": 32, "n_layer": 4, "n_head": 4},
}


def write_tiny_llm(folder: Path, kind: str = "llama", *, max_len: int = 512, seed: int = 0) -> Path:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = _tokenizer()
    config = AutoConfig.for_model(
        kind,
        vocab_size=len(tokenizer),
        **({"n_positions": max_len} if kind == "gpt2" else {"max_position_embeddings": max_len}),
        # Wide enough that probabilities differ from uniform.
        initializer_range=0.3,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
        **_SIZE[kind],
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: k for k, piece in enumerate([*alphabet, "".join(MERGE)])}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[MERGE]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens([EOS])
    # Like most tokenizers, it puts a marker in front of a text unless told not to.
    raw.post_processor = processors.TemplateProcessing(
        single=f"{EOS} $A", special_tokens=[(EOS, raw.token_to_id(EOS))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=EOS)
