"""What does a model write to a prompt? The likeliest token each time, until it ends the text."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from influence_store.extras import require
from influence_store.influence.length_batches import length_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.trial.collate import Encoded
    from influence_store.trial.finetune import Tuned

#: Padded prompt tokens read at once; every further token is one for each row.
_BATCH_TOKENS = 2048


def generate(model: Tuned, rows: Sequence[Encoded], *, max_tokens: int) -> list[str]:
    """One text per row, in the order of the rows; at most `max_tokens` tokens each."""
    torch = require("torch", extra="train")
    llm = model.collator.llm
    texts = [""] * len(rows)
    # Learned vectors stand before the padding, where positions would count it: so none of it.
    padding = 0 if model.ahead else None
    lengths = [len(row.prompt) for row in rows]
    for places in length_batches(lengths, _BATCH_TOKENS, most_padding=padding):
        width = max(len(rows[k].prompt) for k in places)
        inputs = np.full((len(places), width), llm.eos_id, np.int64)
        seen = np.zeros((len(places), width), np.int64)
        for row, k in enumerate(places):
            # Padding stands on the left: what is written follows the prompt at once.
            inputs[row, width - len(rows[k].prompt) :] = rows[k].prompt
            seen[row, width - len(rows[k].prompt) :] = 1
        with torch.no_grad(), warnings.catch_warnings():
            # peft says at every token that it makes positions itself.
            warnings.filterwarnings("ignore", message="Position ids are not supported")
            out = model.model.generate(
                input_ids=torch.from_numpy(inputs).to(llm.device),
                attention_mask=torch.from_numpy(seen).to(llm.device),
                max_new_tokens=max_tokens,
                do_sample=False,
                pad_token_id=llm.eos_id,
                eos_token_id=llm.eos_id,
            )
        # Prompt-tuned models answer without what they read; others repeat it.
        start = 0 if model.ahead else width
        told = llm.tokenizer.batch_decode(out[:, start:], skip_special_tokens=True)
        for k, text in zip(places, told, strict=True):
            texts[k] = text
    return texts
