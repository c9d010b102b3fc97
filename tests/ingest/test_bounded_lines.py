from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from influence_store.ingest.lines import Line, lines


def cut(data: bytes, size: int):
    return [data[k : k + size] for k in range(0, len(data), size)]


@given(st.binary(max_size=200), st.integers(1, 17))
def test_the_cuts_between_chunks_do_not_matter(data, size):
    wanted = data.split(b"\n")
    got = list(lines(cut(data, size), limit=1000))
    assert [line.data for line in got] == (wanted if wanted[-1] else wanted[:-1])
    assert [line.number for line in got] == list(range(1, len(got) + 1))
    assert all(line.ended for line in got[:-1])
    assert not got or got[-1].ended == data.endswith(b"\n")


@given(st.lists(st.integers(0, 30), max_size=8), st.integers(1, 40))
def test_a_line_is_none_exactly_if_it_is_longer_than_the_limit(lengths, size):
    data = b"".join(b"x" * n + b"\n" for n in lengths)
    got = [line.data for line in lines(cut(data, size), limit=10)]
    assert got == [b"x" * n if n <= 10 else None for n in lengths]


def test_an_overlong_line_is_not_held_in_memory():
    def pieces():
        for _ in range(100):
            yield bytes(1 << 20)
        yield b"\nafter\n"

    tracemalloc.start()
    got = list(lines(pieces(), limit=1000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert got == [Line(1, None, True), Line(2, b"after", True)]
    assert peak < 8 << 20


def test_only_the_line_feed_ends_a_line():
    data = "a\u2028b\u0085c\x0bd\x0ce\rf\n".encode()
    assert [line.data for line in lines([data], 1000)] == [data[:-1]]
