"""One JSON text, one meaning: what other parsers forgive is refused."""

from __future__ import annotations

import json

import pytest

from influence_store.ingest.rows import Malformed
from influence_store.ingest.strict_json import MAX_DEPTH, dump_object, parse_object


def reason(data: bytes) -> str:
    with pytest.raises(Malformed) as caught:
        parse_object(data)
    return caught.value.reason


def test_an_object_is_parsed_as_the_standard_library_does():
    data = '{"a": [1, -2.5e3, true, null, {"b": "é\\n\\ud83d\\ude00"}], "": 0}'
    assert parse_object(data.encode()) == json.loads(data)


def test_malformed_text_names_its_column():
    assert reason(b'{"a": 1,, "b": 2}').startswith("column 9: not JSON")


@pytest.mark.parametrize("data", [b'{"a": 1} {"a": 2}', b'{"a": 1}]', b'{"a": 1} x'])
def test_anything_behind_the_object_is_refused(data):
    assert "something follows the object" in reason(data)


@pytest.mark.parametrize(
    ("data", "what"),
    [(b"[1, 2]", "list of 2"), (b"3", "number 3"), (b'"a"', "text 'a'"), (b"null", "null")],
)
def test_a_record_that_is_no_object_is_named_for_what_it_is(data, what):
    assert f"found {what}, expected one object" in reason(data)


@pytest.mark.parametrize("data", [b'{"a": 1, "a": 1}', b'{"x": [{"a": 1, "b": 2, "a": 3}]}'])
def test_a_repeated_key_is_refused_at_any_depth(data):
    assert "the key 'a' appears twice" in reason(data)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999"])
def test_numbers_without_a_value_are_refused(number):
    assert number.decode() in reason(b'{"a": ' + number + b"}")


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**19, int("9" * 4000)])
def test_integers_beyond_64_bits_are_refused(number):
    assert "does not fit 64 bits" in reason(b'{"a": %d}' % number)


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 0])
def test_the_outermost_64_bit_integers_are_kept(number):
    assert parse_object(b'{"a": %d}' % number) == {"a": number}


def test_depth_is_limited_without_recursion():
    def nested(levels):  # the object itself is one level
        return b'{"a": ' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"

    assert parse_object(nested(MAX_DEPTH))
    assert "nested deeper" in reason(nested(MAX_DEPTH + 1))
    assert "nested deeper" in reason(nested(100_000))


def test_brackets_inside_text_are_not_depth():
    text = '[{"\\' * 500
    assert parse_object(json.dumps({"a": text}).encode()) == {"a": text}


@pytest.mark.parametrize("escape", [rb"\ud800", rb"\udfff", rb"\uDBFF x", rb"\udc00\ud800"])
def test_half_a_surrogate_pair_is_refused_with_its_path(escape):
    assert reason(b'{"a": [{"b": "x' + escape + b'"}]}').startswith("a[0].b: lone surrogate")


def test_a_surrogate_in_a_key_is_refused():
    assert "lone surrogate" in reason(rb'{"\ud800": 1}')


def test_nul_is_refused_but_an_escaped_backslash_before_u0000_is_text():
    assert "a: contains NUL" in reason(rb'{"a": "x\u0000y"}')
    assert parse_object(rb'{"a": "x\\u0000y"}') == {"a": "x\\u0000y"}


def test_a_byte_that_is_not_utf8_is_named_with_its_offset():
    assert "byte 0xe9 at offset 10" in reason(b'{"a": "caf\xe9"}')


@pytest.mark.parametrize("separator", ["\u2028", "\u0085", "\u2029"])
def test_unicode_line_separators_are_text(separator):
    assert parse_object(f'{{"a": "x{separator}y"}}'.encode()) == {"a": f"x{separator}y"}


def test_dump_then_parse_is_the_identity():
    value = {"b": [1, 2.5, None, {"a": "é\u2028"}], "a": "x\ny"}
    assert parse_object(dump_object(value)) == value
    assert b"\n" not in dump_object(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"bytes", {1, 2}])
def test_dump_refuses_what_json_cannot_say(value):
    with pytest.raises((ValueError, TypeError)):
        dump_object({"a": value})
