"""A bidirectional encoder of a few thousand random weights, as an ordinary transformers folder."""

from __future__ import annotations

from pathlib import Path

MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
#: Fruit and numbers are two topics that a classifier can tell apart by their words.
FRUIT = ["apple", "pear", "plum", "cherry", "melon", "grape", "peach", "lemon"]
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
WORDS = ["a", "and", "is", "of", "or", "the", "what", "with", *FRUIT, *NUMBERS]


def write_tiny_encoder(
    folder: Path, kind: str = "bert", *, max_len: int = 32, seed: int = 0
) -> Path:
    import torch
    from transformers import AutoConfig, AutoModel

    tokenizer = _tokenizer()
    config = AutoConfig.for_model(
        kind,
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        # RoBERTa numbers positions from behind its padding token.
        max_position_embeddings=max_len + (1 if kind == "roberta" else 0),
        # Wide enough that texts differ.
        initializer_range=0.4,
        pad_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModel.from_config(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer():
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: k for k, word in enumerate([*MARKS, *WORDS])}
    raw = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer()
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
