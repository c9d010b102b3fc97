"""Who is who: content hashes of samples and fingerprints of whatever produces values.

An edit to the bytes hashed here makes every stored identity a stranger: a new major version.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING, Any

import orjson

from influence_store.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from influence_store.schema.sample import Sample

ID_BYTES = 16
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_RULE = "use 1-64 of a-z 0-9 _ -, starting with a letter or digit, e.g. support-chats"
_VIEWS = ("samples", "points", "pairs", "selections", "selection_items", "estimators")
_CATALOG = ("producers", "runs", "datasets")
# Names of devices, which are no file names on Windows.
_PORTS = (f"{port}{k}" for port in ("com", "lpt") for k in range(10))
_DEVICES = ("con", "nul", "prn", "aux", *_PORTS)
_RESERVED = frozenset([*_VIEWS, *_CATALOG, "selected", "latest", *_DEVICES])


def sample_id(sample: Sample) -> bytes:
    """128-bit BLAKE2b of the canonical sample: NFC texts and roles of all turns, system, tools.

    Two samples have the same id exactly if a model would be shown the same conversation: the
    file, position, spelling of field names and extra fields do not count.
    """
    canonical = [
        _nfc(sample.system),
        _nfc(sample.tools),
        [[turn.role, _nfc(turn.text)] for turn in sample.turns],
    ]
    return hashlib.blake2b(orjson.dumps(canonical), digest_size=ID_BYTES).digest()


def fingerprint(facts: Mapping[str, Any]) -> str:
    """32 hex digits over everything that changes a producer's values; key order is irrelevant."""
    text = orjson.dumps(facts, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    return hashlib.blake2b(text, digest_size=ID_BYTES).hexdigest()


def content_order(ids: Sequence[bytes], seed: int, purpose: str = "") -> list[int]:
    """Positions (n,) in a random order that follows the contents; equal ids by position.

    The order is that of a hash over seed, purpose and content. So it depends neither on where a
    sample is stored nor on which others there are: when data are added or removed, the samples
    that stay keep their order, and a bigger prefix continues a smaller one. Different purposes
    give independent orders.
    """
    key = seed.to_bytes(16, "little", signed=True) + purpose.encode()
    hashes = [hashlib.blake2b(bytes(one), digest_size=16, key=key).digest() for one in ids]
    return sorted(range(len(hashes)), key=hashes.__getitem__)


def check_dataset_name(name: str) -> str:
    """Return `name` if it may name a dataset; UsageError with the rule otherwise."""
    check_name("a dataset", name)
    if name in _RESERVED:
        raise UsageError(f"{name!r} cannot name a dataset: the name is taken", hint=_RULE)
    return name


def check_name(what: str, name: str) -> None:
    """UsageError with the rule unless `name` may name `what`."""
    if not _NAME.fullmatch(name):
        shown = name if len(name) <= 64 else f"{name[:64]}…"
        raise UsageError(f"{shown!r} cannot name {what}", hint=_RULE)


def _nfc(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)
