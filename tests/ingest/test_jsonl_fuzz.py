"""Whatever the bytes, reading yields Rows and Rejecteds, or stops with an InputError."""

from __future__ import annotations

import io
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from influence_store.errors import InputError
from influence_store.ingest import Rejected, Row, read
from influence_store.ingest.layouts import LAYOUTS

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=9)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
names = st.sampled_from(sorted({key for layout in LAYOUTS for key in layout.keys} | {"text"}))
turns = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "tool", "system", "x"]), "content": values}
    ),
    max_size=3,
)
records = st.dictionaries(names, values | turns, max_size=5)
damage = st.tuples(st.integers(0, 200), st.binary(max_size=3))


def check(content: bytes) -> None:
    try:
        for row in read(["-"], stdin=io.BytesIO(content), max_record_bytes=500):
            assert isinstance(row, Row | Rejected)
            assert b"\n" not in row.raw
            if isinstance(row, Row):
                assert row.sample.response.strip()
                again = list(read(["-"], stdin=io.BytesIO(row.raw)))
                assert [one.sample for one in again] == [row.sample]
            else:
                assert str(row).startswith(f"<stdin>:{row.line}: ")
    except InputError:
        pass


@settings(max_examples=100, deadline=None)
@given(st.lists(records, min_size=1, max_size=3), damage)
def test_no_damaged_record_escapes_as_another_error(lines, hit):
    content = b"\n".join(json.dumps(line).encode() for line in lines)
    at, junk = hit
    check(content)
    check(content[:at] + junk + content[at + len(junk) :])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_escape_as_another_error(junk):
    check(b'{"instruction": "' + junk)
    check(junk)


@settings(max_examples=60, deadline=None)
@given(st.lists(records, max_size=3), damage)
def test_no_damaged_array_escapes_as_another_error(lines, hit):
    content = json.dumps(lines, indent=1).encode()
    at, junk = hit
    check(content[:at] + junk + content[at + len(junk) :])
