"""How are the bytes of a .gz or .zst file read without trusting them?

Input is fed in small steps so that one step cannot fill the memory (a DEFLATE byte makes at most
1032 bytes, a four-byte zstd block up to 128 KiB), and a stream that grows out of all proportion
or stops before its end is refused.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Literal, Protocol

from influence_store.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Compression = Literal["gz", "zst", "none"]

MAX_RATIO = 250
MAX_TOTAL = 1 << 40
RATIO_COUNTS_FROM = 16 << 20

_STEP: dict[Compression, int] = {"gz": 16 << 10, "zst": 1 << 10, "none": 256 << 10}
_MAGIC: dict[Compression, bytes] = {"gz": b"\x1f\x8b", "zst": b"\x28\xb5\x2f\xfd"}


class Readable(Protocol):
    """The part of a binary file that is needed here."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; empty at the end."""
        ...


def sniff_compression(head: bytes) -> Compression:
    """What the first bytes of a file say about its compression."""
    return next((kind for kind, magic in _MAGIC.items() if head.startswith(magic)), "none")


def chunks(
    raw: Readable, compression: Compression, name: str, *, max_total: int = MAX_TOTAL
) -> Iterator[bytes]:
    """The decompressed bytes of `raw`, piece by piece.

    InputError if the stream is damaged or cut, grows beyond `max_total` bytes, or beyond
    MAX_RATIO times its compressed size once it has made RATIO_COUNTS_FROM bytes.
    """
    step, read, made = _STEP[compression], 0, 0
    unpack = _Unpacker(compression, name) if compression != "none" else None
    while block := raw.read(step):
        read += len(block)
        piece = unpack.feed(block) if unpack else block
        made += len(piece)
        if unpack and made > max(RATIO_COUNTS_FROM, MAX_RATIO * read):
            raise InputError(
                f"{name}: {read:,} compressed bytes became {made:,}: more than {MAX_RATIO} times",
                hint="if you trust the file, decompress it yourself and read the result",
            )
        if made > max_total:
            raise InputError(f"{name}: larger than {max_total:,} bytes", hint="split the file")
        if piece:
            yield piece
    if unpack:
        unpack.finish()


class _Unpacker:
    """Members or frames of one archive, one after the other."""

    def __init__(self, compression: Compression, name: str) -> None:
        self._new, self._fault = _ENGINES[compression]()
        self._name = name
        self._padding = b"\0" if compression == "gz" else b""
        self._engine: Any = None

    def feed(self, block: bytes) -> bytes:
        out = []
        while block:
            if self._engine is None:
                block = block.lstrip(self._padding) if self._padding else block
                if not block:
                    break
                self._engine = self._new()
            try:
                out.append(self._engine.decompress(block))
            except self._fault as error:
                raise InputError(
                    f"{self._name}: damaged archive: {error}", hint="copy or download it again"
                ) from error
            ended = self._engine.eof
            block = self._engine.unused_data if ended else b""
            self._engine = None if ended else self._engine
        return b"".join(out)

    def finish(self) -> None:
        if self._engine is not None:
            raise InputError(
                f"{self._name}: the archive ends too early",
                hint="it is still being written or was cut: copy or download it again",
            )


def _gzip_engine() -> tuple[Callable[[], Any], type[Exception]]:
    return lambda: zlib.decompressobj(wbits=31), zlib.error


def _zstd_engine() -> tuple[Callable[[], Any], type[Exception]]:
    import zstandard

    return lambda: zstandard.ZstdDecompressor().decompressobj(), zstandard.ZstdError


_ENGINES: dict[Compression, Callable[[], tuple[Callable[[], Any], type[Exception]]]] = {
    "gz": _gzip_engine,
    "zst": _zstd_engine,
}
