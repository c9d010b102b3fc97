"""Where does each sample come from, and under which licence? One value per sample, for quotas.

file       the file that the dataset first got the content from, as it was named to `ingest`
dataset    the first dataset of the store that brought the content, of those that stand
any key    that the records hold beside the sample itself: source, license, category …
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from pyroaring import BitMap

from influence_store.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from influence_store.store.store import Store
    from influence_store.store.versions import Version

FILE, DATASET = "file", "dataset"
#: The value of a sample that has none.
NONE = "(none)"


def attributes(store: Store, version: Version, name: str) -> list[str]:
    """The value of attribute `name` for each sample of `version`, (n,) in the order of its sids.

    A value that is no text stands as its JSON; null, blank or missing is `(none)`. `file` and
    `dataset` mean those above also where records have such a key. NotFound names the attributes
    that some sample has.
    """
    if name == DATASET:
        found = _datasets(store, version)
    elif name == FILE:
        found = dict(_column(store, version, FILE))
    else:
        found = _extras(store, version, name)
    return [found.get(sid, NONE) for sid in version.sids.tolist()]


def _datasets(store: Store, version: Version) -> dict[int, str]:
    found: dict[int, str] = {}
    left = BitMap(version.bits)
    for one in store.versions():  # oldest first
        found.update(dict.fromkeys(left & one.bits, one.dataset))
        left -= one.bits
    return found


def _extras(store: Store, version: Version, key: str) -> dict[int, str]:
    found: dict[int, str] = {}
    known: set[str] = set()
    for sid, text in _column(store, version, "extra"):
        extra: Mapping[str, Any] = orjson.loads(text)
        known.update(extra)
        found[sid] = _told(extra.get(key))
    if key not in known:
        raise NotFound.named("attribute", key, {*known, FILE, DATASET})
    return found


def _told(value: Any) -> str:
    if value is None:
        return NONE
    dumped = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    text = value if isinstance(value, str) else dumped
    return text if text.strip() else NONE


def _column(store: Store, version: Version, column: str) -> Iterator[tuple[int, str]]:
    """(sid, value) of one column of the dataset's rows, for the samples of the version."""
    blocks = store.blocks("rows", dataset_id=version.dataset_id)
    for batch in store.scan(blocks, ["sid", column], version.bits):
        yield from zip(batch["sid"].to_pylist(), batch[column].to_pylist(), strict=True)
