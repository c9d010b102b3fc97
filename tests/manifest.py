"""What an imported score file must say about itself."""

from __future__ import annotations

MANIFEST = {
    "method": "foreign",
    "higher_means": "helpful",
    "model_id": "tiny",
    "model_revision": None,
    "dtype": "float32",
    "template_id": None,
    "tokenizer_hash": None,
    "max_len": 512,
    "seed": 0,
    "code_version": "1",
}
