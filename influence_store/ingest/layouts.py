"""Which key holds what? The shapes instruction data comes in, as a table, and how one is chosen.

A record is judged by its own keys alone, so files may mix shapes. Of two layouts that fit, the one
that also explains everything the other explains wins (alpaca over input/output); where neither
does, the record is refused with a `--map` line for each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from influence_store.errors import UsageError
from influence_store.ingest.rows import Malformed, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

# What `--map FIELD=KEY` may name.
FIELDS = ("instruction", "input", "output", "system", "history", "messages", "tools")
#: What others, and our own views, call them.
_ALSO = {
    **dict.fromkeys(("prompt", "question", "query", "user"), "instruction"),
    **dict.fromkeys(("response", "answer", "completion", "assistant", "label", "target"), "output"),
    "context": "input",
    "conversations": "messages",
}


@dataclass(frozen=True)
class Layout:
    """Field → key. A record fits if it has all `required` keys; `optional` ones may be absent."""

    name: str
    required: Mapping[str, str]
    optional: Mapping[str, str] = field(default_factory=dict)

    def key(self, field_name: str) -> str | None:
        """The key that holds a field, if this layout has the field."""
        return self.required.get(field_name) or self.optional.get(field_name)

    @cached_property
    def keys(self) -> frozenset[str]:
        """All keys that a sample is made from."""
        return frozenset([*self.required.values(), *self.optional.values()])

    @property
    def map_line(self) -> str:
        """The options that ask for this layout."""
        return " ".join(f"--map {name}={shown(key)}" for name, key in self.required.items())


def _pair(
    instruction: str, output: str, *, context: str = "input", system: str = "system"
) -> Layout:
    optional = {"input": context, "system": system, "history": "history", "tools": "tools"}
    return Layout(
        f"{instruction}/{output}",
        {"instruction": instruction, "output": output},
        {name: key for name, key in optional.items() if key not in (instruction, output)},
    )


def _chat(messages: str) -> Layout:
    return Layout(messages, {"messages": messages}, {"system": "system", "tools": "tools"})


LAYOUTS = (
    _pair("instruction", "output"),  # alpaca
    _chat("conversations"),  # sharegpt: from, value
    _chat("messages"),  # OpenAI: role, content
    _pair("prompt", "completion"),  # TRL: texts or message lists
    _pair("prompt", "response"),
    _pair("question", "answer"),
    _pair("question", "answer", context="context"),
    _pair("question", "response"),
    _pair("question", "response", system="system_prompt"),  # OpenOrca
    _pair("query", "response"),
    _pair("instruction", "response"),
    _pair("instruction", "response", context="context"),  # dolly
    _pair("INSTRUCTION", "RESPONSE"),  # OASST in instruction form
    _pair("input", "output"),
    _pair("article", "summary"),
    _pair("dialogue", "summary"),
)


@lru_cache(maxsize=4096)
def detect(keys: frozenset[str]) -> Layout:
    """The one layout that fits a record with these keys (null values not counted).

    Malformed, with the keys found and `--map` lines to choose from, if none or several fit.
    """
    fitting = [layout for layout in LAYOUTS if keys.issuperset(layout.required.values())]
    for layout in fitting:
        if all(layout.keys & keys >= other.keys & keys for other in fitting):
            return layout
    names = ", ".join(shown(key) for key in sorted(keys)[:12]) or "none"
    if fitting:
        raise Malformed(
            f"several schemas fit the keys (found {names})",
            hint="choose one: " + "   or   ".join(layout.map_line for layout in fitting),
        )
    if keys == {"text"}:
        raise Malformed(
            "found only `text`, expected a prompt and a response",
            hint="split the text into two fields first, e.g. prompt and completion",
        )
    raise Malformed(
        f"no schema fits the keys (found {names})",
        hint=f"name the fields: --map instruction={_guess(keys, 'instruction')} "
        f"--map output={_guess(keys, 'output')}",
    )


def from_mapping(mapping: Mapping[str, str]) -> Layout:
    """The layout that the user's field → key table describes.

    A field that is not named keeps its own name. UsageError on a name that is not a field.
    """
    for name in mapping:
        if name not in FIELDS:
            raise UsageError(
                f"--map: {shown(name)!r} is not a field; known: {', '.join(FIELDS)}",
                hint=_map_hint(name, mapping[name]),
            )
    chat = "messages" in mapping
    clash = sorted({"instruction", "input", "output", "history"} & set(mapping)) if chat else []
    if clash:
        raise UsageError(
            f"--map: messages and {clash[0]} exclude each other",
            hint="map either messages, or instruction and output",
        )
    required = ("messages",) if chat else ("instruction", "output")
    allowed = (*required, "system", "tools") if chat else [n for n in FIELDS if n != "messages"]
    taken = set(mapping.values())
    table = {n: n for n in allowed if n not in taken} | dict(mapping)
    missing = [name for name in required if name not in table]
    if missing:
        raise UsageError(f"--map: nothing is left for {missing[0]}", hint=f"--map {missing[0]}=KEY")
    return Layout(
        "--map",
        {name: table[name] for name in required},
        {name: key for name, key in table.items() if name not in required},
    )


def _map_hint(name: str, key: str) -> str:
    """What was meant by `--map name=key`: a misspelt field, another word for it, or the reverse."""
    known = name.lower() in _ALSO
    if not known and (near := get_close_matches(name, FIELDS, n=1)):
        return f"--map {near[0]}={shown(key)}"
    if key in FIELDS or (key in _ALSO and not known):
        return f"--map {_ALSO.get(key, key)}={shown(name)}"
    return f"--map {_ALSO.get(name.lower(), 'output')}={shown(key)}"


def _guess(keys: frozenset[str], field_name: str) -> str:
    known = {layout.required[field_name] for layout in LAYOUTS if field_name in layout.required}
    exact = sorted(keys & known)
    near = [key for key in sorted(keys) if get_close_matches(key.lower(), known, n=1, cutoff=0.7)]
    return next((shown(key) for key in [*exact, *near]), "KEY")
