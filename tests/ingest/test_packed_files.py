"""Compressed input is never trusted: bombs, cut and damaged archives, wrong names."""

from __future__ import annotations

import gzip
import io
import tracemalloc

import pytest
import zstandard

from influence_store.errors import InputError
from influence_store.ingest.compression import chunks, sniff_compression

DATA = b"".join(b'{"instruction": "say %d", "output": "%d"}\n' % (k, k * k) for k in range(5000))


def pack(kind: str, data: bytes) -> bytes:
    return (
        gzip.compress(data, mtime=0) if kind == "gz" else zstandard.ZstdCompressor().compress(data)
    )


def unpack(kind: str, packed: bytes, **limits) -> bytes:
    return b"".join(chunks(io.BytesIO(packed), kind, "f", **limits))


@pytest.fixture(params=["gz", "zst"])
def kind(request):
    return request.param


def test_unpacking_gives_the_packed_bytes(kind):
    assert sniff_compression(pack(kind, DATA)) == kind
    assert unpack(kind, pack(kind, DATA)) == DATA


def test_several_members_are_one_file(kind):
    assert unpack(kind, pack(kind, DATA) + pack(kind, b"") + pack(kind, b"more")) == DATA + b"more"


def test_zero_padding_behind_a_gzip_member_is_no_data():
    assert unpack("gz", pack("gz", DATA) + bytes(500)) == DATA


@pytest.mark.parametrize("missing", [1, 5, 1000])
def test_a_cut_archive_is_not_taken_for_its_beginning(kind, missing):
    with pytest.raises(InputError, match="ends too early"):
        unpack(kind, pack(kind, DATA)[:-missing])


def test_a_damaged_archive_is_named_as_such(kind):
    packed = bytearray(pack(kind, DATA))
    packed[10:40] = bytes(30)
    with pytest.raises(InputError, match=r"damaged archive|ends too early"):
        unpack(kind, bytes(packed))


def test_garbage_behind_an_archive_is_refused(kind):
    with pytest.raises(InputError, match="damaged archive"):
        unpack(kind, pack(kind, DATA) + b"garbage that is no member")


def test_a_bomb_stops_long_before_it_fills_the_memory(kind):
    packed = pack(kind, bytes(300 << 20))
    sizes = []
    tracemalloc.start()
    pieces = chunks(io.BytesIO(packed), kind, "bomb")
    with pytest.raises(InputError, match="more than 250 times"):
        sizes.extend(len(piece) for piece in pieces)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(sizes) <= 64 << 20
    assert peak <= 128 << 20


def test_the_total_size_is_capped(kind):
    with pytest.raises(InputError, match="larger than 1,000 bytes"):
        unpack(kind, pack(kind, DATA), max_total=1000)
