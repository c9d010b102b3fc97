"""Which contents does the store hold, and under which sids? Read in passing, never held whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pyarrow as pa

COLUMNS = ["sid", "sample_id"]
_SCHEMA = {"sid": pl.Int64, "sample_id": pl.Binary}
#: Stored rows that are compared with those looked for at a time: fewer, and a long list of these
#: would be prepared again and again.
_AT_A_TIME = 1_000_000


def among(batches: Iterable[pa.RecordBatch], ids: Sequence[bytes]) -> pl.DataFrame:
    """The rows (sid, sample_id) whose content is one of `ids`."""
    wanted = pl.DataFrame({"sample_id": pl.Series(ids, dtype=pl.Binary)}).unique()
    return _kept(batches, lambda frame: frame.join(wanted, on="sample_id", how="semi"))


def beginning(batches: Iterable[pa.RecordBatch], prefixes: Sequence[str]) -> pl.DataFrame:
    """The rows (sid, sample_id) whose content id begins with one of `prefixes`, in hex."""
    text = pl.col("sample_id").bin.encode("hex")
    begins = [text.str.starts_with(prefix.lower()) for prefix in prefixes]
    return _kept(batches, lambda frame: frame.filter(pl.any_horizontal(pl.lit(False), *begins)))


def everything(batches: Iterable[pa.RecordBatch]) -> pl.DataFrame:
    """All rows (sid, sample_id)."""
    return _kept(batches, lambda frame: frame)


def _kept(
    batches: Iterable[pa.RecordBatch], keep: Callable[[pl.DataFrame], pl.DataFrame]
) -> pl.DataFrame:
    frames = [keep(frame) for frame in _frames(batches)]
    return pl.concat(frames) if frames else pl.DataFrame(schema=_SCHEMA)


def _frames(batches: Iterable[pa.RecordBatch]) -> Iterator[pl.DataFrame]:
    held: list[pl.DataFrame] = []
    for batch in batches:
        held.append(pl.DataFrame(pl.from_arrow(batch), schema=_SCHEMA))
        if sum(frame.height for frame in held) >= _AT_A_TIME:
            yield pl.concat(held)
            held = []
    if held:
        yield pl.concat(held)
