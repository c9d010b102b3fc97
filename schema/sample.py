"""The one form of a training sample that every reader must produce."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["user", "assistant", "tool"]

_LABEL: dict[Role, str] = {"user": "User", "assistant": "Assistant", "tool": "Tool"}


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A conversation that ends with the assistant turn to be learned.

    `system` is the system prompt and `tools` the tool declarations as JSON text; both are empty
    where the source has none.
    """

    turns: tuple[Turn, ...]
    system: str = ""
    tools: str = ""

    def __post_init__(self) -> None:
        if not self.turns or self.turns[-1].role != "assistant":
            raise ValueError("a sample ends with an assistant turn")

    @property
    def response(self) -> str:
        """The text a model is trained to produce: the last assistant turn."""
        return self.turns[-1].text

    @property
    def prompt(self) -> str:
        """Everything before the response, as plain text.

        A single user turn without a system prompt is that turn's text, unadorned.
        """
        before = self.turns[:-1]
        if len(before) == 1 and before[0].role == "user":
            body = before[0].text
        else:
            body = "\n\n".join(f"{_LABEL[turn.role]}: {turn.text}" for turn in before)
        head = [part for part in (self.system, self.tools) if part]
        return "\n\n".join([*head, body]) if body else "\n\n".join(head)

    @classmethod
    def of(cls, prompt: str, response: str, *, system: str = "") -> Sample:
        """The common case: one question, one answer."""
        return cls((Turn("user", prompt), Turn("assistant", response)), system=system)
