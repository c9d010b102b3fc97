"""How does a sample become token ids? Context and response are always tokenised apart.

Tokenising each part by itself keeps the boundary where it is whatever stands before it, so a
prefix can be shared by many targets. Markers that a text spells out (`<|im_end|>`) stay text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from influence_store.errors import Incompatible

if TYPE_CHECKING:
    from influence_store.influence.llm import Llm
    from influence_store.protocols import Ids
    from influence_store.schema.sample import Sample


@dataclass(frozen=True)
class Template:
    """Texts with `{prompt}` and `{response}`; `example` + `query` is the context with an example.

    `eos_after_prompt` ends every context with the model's EOS. `eos_after_response` makes EOS the
    last scored token of a response, which also asks whether the model knows when to stop.
    """

    name: str
    alone: str
    example: str
    query: str
    eos_after_prompt: bool = True
    eos_after_response: bool = True


# Wording and EOS placement are those of the DELIFT release: they decide the values, so they are
# reproduced and not improved. Note that the instruction differs between the two arms.
DELIFT_TEMPLATE = Template(
    name="delift-release",
    alone="Instruction: Please generate a response to the following query.\n\n\nQuery: {prompt}\n",
    example=(
        "Instruction:\nUse the following example as a guide to answer the query in the same format"
        " and style, providing a clear and concise response.\n\n\nExample:\n{prompt}\n{response}"
        "\n\n\n"
    ),
    query="Query:\n{prompt}\n",
)


@dataclass(frozen=True)
class Prompter:
    """A template bound to a tokenizer. `max_response_tokens` cuts what is scored, not shown."""

    llm: Llm
    template: Template
    max_response_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.max_response_tokens is not None and self.max_response_tokens < 1:
            raise ValueError(f"max_response_tokens is {self.max_response_tokens}; at least 1")
        needs_eos = self.template.eos_after_prompt or self.template.eos_after_response
        if needs_eos and self.llm.eos_id is None:
            raise Incompatible(
                f"the tokenizer of {self.llm.name} has no EOS token; "
                f"template {self.template.name!r} ends texts with it",
                hint="use a model whose tokenizer names an eos_token",
            )

    def alone(self, sample: Sample) -> Ids:
        """Context without an example, (n,)."""
        return self._context(self.template.alone.format(prompt=sample.prompt))

    def example(self, source: Sample) -> Ids:
        """The part of the context that all targets of one source share, (n,)."""
        text = self.template.example.format(prompt=source.prompt, response=source.response)
        return self.llm.tokenize(text)

    def query(self, sample: Sample) -> Ids:
        """What follows an example in a context, (n,)."""
        return self._context(self.template.query.format(prompt=sample.prompt))

    def response(self, sample: Sample) -> Ids:
        """The whole response with its EOS, (T,); empty where the sample's response is empty."""
        ids = self.llm.tokenize(sample.response)
        return self._with_eos(ids) if len(ids) and self.template.eos_after_response else ids

    def scored(self, response: Ids) -> Ids:
        """The leading part of a response that counts."""
        return response[: self.max_response_tokens]

    def _context(self, text: str) -> Ids:
        ids = self.llm.tokenize(text)
        return self._with_eos(ids) if self.template.eos_after_prompt else ids

    def _with_eos(self, ids: Ids) -> Ids:
        return np.append(ids, np.int64(self.llm.eos_id or 0))
