"""How does a sample become tokens to train on? Only the last response is learned, its end included.

Where the tokenizer brings a chat template, it is used: markers come from the template alone, and a
marker that a text spells out stays text. Without one, or where it refuses the conversation, the
prompt is followed by one line break and the response. Labels are the token ids of the response and
of the EOS behind it, `IGNORED` on the prompt and on padding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from influence_store.errors import Incompatible
from influence_store.extras import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from influence_store.influence.llm import Llm
    from influence_store.protocols import Ids
    from influence_store.schema.sample import Sample

#: No loss here; what torch's cross-entropy leaves out by default.
IGNORED = -100
# Stands for the k-th text while the template is rendered; private characters no template knows.
_STAND_IN = re.compile("\ue000(\\d+)\ue001")


@dataclass(frozen=True)
class Encoded:
    """Token ids of the context and of the response with its EOS; `cut` where it was too long."""

    prompt: Ids
    response: Ids
    cut: bool = False

    @property
    def usable(self) -> bool:
        """Whether there is anything to predict from and anything to predict."""
        return bool(len(self.prompt) and len(self.response))

    @property
    def length(self) -> int:
        """Tokens of both."""
        return len(self.prompt) + len(self.response)


@dataclass(frozen=True)
class Batch:
    """`inputs` and `labels`, both (B, W); rows end in padding, which no earlier token sees."""

    inputs: Ids
    labels: Ids

    @property
    def scored(self) -> Any:
        """Where the logits predict a label: one place before each, (B, W) bool."""
        ahead = np.zeros(self.labels.shape, np.bool_)
        ahead[:, :-1] = self.labels[:, 1:] != IGNORED
        return ahead

    @property
    def gold(self) -> Ids:
        """The labels that count, row after row, (Σ T,)."""
        gold: Ids = self.labels[self.labels != IGNORED]
        return gold


class Collator:
    """A tokenizer's way of writing conversations; a sample has at most `max_tokens` tokens.

    Incompatible if the tokenizer has no EOS: a model that never learns to stop is of no use.
    """

    def __init__(self, llm: Llm, max_tokens: int) -> None:
        if llm.eos_id is None:
            raise Incompatible(
                f"the tokenizer of {llm.name} has no EOS token, which a response ends with",
                hint="use a model whose tokenizer names an eos_token",
            )
        self.llm, self.max_tokens = llm, max_tokens
        self._eos = np.int64(llm.eos_id)
        self._chat = bool(getattr(llm.tokenizer, "chat_template", None))

    @property
    def facts(self) -> dict[str, Any]:
        """What decides the tokens besides the tokenizer itself."""
        template = str(self.llm.tokenizer.chat_template) if self._chat else None
        return {"max_tokens": self.max_tokens, "chat_template": template}

    def encode(self, sample: Sample) -> Encoded:
        """Tokenise; what is too long loses the end of its response, or all of it, and says so."""
        prompt, response = self._chatted(sample) if self._chat else self._plain(sample)
        room = max(0, self.max_tokens - len(prompt))
        if len(response) <= room:
            return Encoded(prompt, response)
        return Encoded(prompt, response[:room], cut=True)

    def batch(self, rows: Sequence[Encoded]) -> Batch:
        """Rows beside each other, padded on the right with EOS that nobody is asked for."""
        width = max(row.length for row in rows)
        inputs = np.full((len(rows), width), self._eos, np.int64)
        labels = np.full((len(rows), width), IGNORED, np.int64)
        for k, row in enumerate(rows):
            inputs[k, : row.length] = np.concatenate([row.prompt, row.response])
            labels[k, len(row.prompt) : row.length] = row.response
        return Batch(inputs, labels)

    def _plain(self, sample: Sample) -> tuple[Ids, Ids]:
        begin = self.llm.tokenizer.bos_token_id
        head = np.array([] if begin is None else [begin], np.int64)
        prompt = np.concatenate([head, self.llm.tokenize(f"{sample.prompt}\n")])
        return prompt, self._ended(self.llm.tokenize(sample.response))

    def _chatted(self, sample: Sample) -> tuple[Ids, Ids]:
        system = "\n\n".join(part for part in (sample.system, sample.tools) if part)
        roles = [*(["system"] if system else []), *(turn.role for turn in sample.turns)]
        texts = [*([system] if system else []), *(turn.text for turn in sample.turns)]
        rendered = self._rendered(roles)
        if rendered is None and roles != ["user", "assistant"]:
            # Some templates know no system prompt, no tools, or want turns to alternate.
            roles, texts = ["user", "assistant"], [sample.prompt, sample.response]
            rendered = self._rendered(roles)
        if rendered is None:
            return self._plain(sample)
        # "before 0 between 1 behind": every second part names a text.
        parts = _STAND_IN.split(rendered)
        pieces = [
            self.llm.tokenize(texts[int(part)]) if k % 2 else self._markers(part)
            for k, part in enumerate(parts)
        ]
        return np.concatenate(pieces[:-2]), self._ended(pieces[-2], pieces[-1])

    def _rendered(self, roles: Sequence[str]) -> str | None:
        """The template around stand-ins; None if it refuses, or does not end with the response."""
        jinja = require("jinja2", extra="train")
        turns = [{"role": role, "content": f"\ue000{k}\ue001"} for k, role in enumerate(roles)]
        try:
            text = str(self.llm.tokenizer.apply_chat_template(turns, tokenize=False))
        except jinja.TemplateError:
            return None
        found = _STAND_IN.findall(text)
        whole = sorted(map(int, found)) == list(range(len(roles)))
        return text if whole and found[-1] == str(len(roles) - 1) else None

    def _markers(self, text: str) -> Ids:
        """Tokens of what the template says, its markers as such."""
        encoded = self.llm.tokenizer(text, add_special_tokens=False, verbose=False)
        return np.asarray(encoded["input_ids"], np.int64)

    def _ended(self, response: Ids, behind: Ids | None = None) -> Ids:
        """The response up to the template's own EOS, or with EOS where it has none."""
        if not len(response):
            return response
        if behind is not None and (behind == self._eos).any():
            stop = int(np.argmax(behind == self._eos))
            return np.concatenate([response, behind[: stop + 1]])
        return np.append(response, self._eos)
