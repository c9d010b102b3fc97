"""Damage real records in many ways: reading yields samples and refusals, and never anything else.

    python tests/bad_input/fuzz_parser.py --inputs 1000000 --seed 0

Each input is one record, damaged. Those of JSON lines are read many to a stream, since a bad line
must not harm its neighbours; an array or a CSV file is read by itself, since one bad record may end
it. Whatever is accepted must be a sample that every part of the store can hold, and must be read
again from its own stored record as the same sample. The same seed gives the same inputs.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from influence_store.errors import InputError
from influence_store.ingest import Rejected, Row, read, read_removed
from influence_store.ingest.layouts import LAYOUTS
from influence_store.schema.identity import sample_id

LIMIT = 4096
LINES = 256
#: Out of 100 inputs: the ways in which a record comes.
SHARES = {"lines": 84, "array": 8, "csv": 5, "removed": 2, "packed": 1}

TEXTS = (
    "Say hi.",
    "naïve café 東京 🙂",
    'a "quoted" word, and a \\ backslash',
    "line one\nline two\ttab",
    "e\u0301 and \u00e9",
    "def f(x):\n    return {'a': [x]}",
    "",
)
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": "Because."},
    {"from": "human", "value": "And?"},
    {"from": "gpt", "value": [{"type": "text", "text": "So."}]},
]
#: What has broken parsers before.
NASTY = (
    *(
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\x00",
        b"\r",
        b"\r\n",
        b"\n",
        b"\x1b[31m",
        b"\x80",
        b"\xc0\xaf",
    ),
    *(
        "\u2028".encode(),
        "\u0085".encode(),
        "\u202e".encode(),
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
    ),
    *(rb"\ud800", rb"\udc00", rb"\u0000", rb"\uD83D\uDE42", rb"\x", b"\\", rb"\/", rb"\u00e9"),
    *(b"NaN", b"-Infinity", b"1e999", b"-0", b"1E400", b"01", b"9" * 25, b"-9223372036854775809"),
    *(b'"', b'""', b"'", b",", b":", b"{", b"}", b"[", b"]", b"[" * 70, b"{}", b"[]", b"null"),
    *(b"true", b"//", b"/**/", b'"output":', b'"instruction": "x",', b"\t", b" " * 40, b"x" * 5000),
)


@dataclass
class Counts:
    """What became of the inputs; `stopped` are files that could not be read on."""

    inputs: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)


def fuzz(inputs: int, seed: int) -> Counts:
    """Try so many damaged records; AssertionError, or whatever escaped, at the first failure."""
    rng, counts, done = random.Random(seed), Counts(), 0
    kinds, shares = list(SHARES), list(SHARES.values())
    while done < inputs:
        kind = rng.choices(kinds, shares)[0]
        # A stream of lines stands for as many inputs as it has lines.
        size = min(LINES, inputs - done) if kind == "lines" else 1
        for _ in range(1 if kind == "lines" else LINES):
            if done < inputs:
                _try(kind, rng, size, counts)
                counts.inputs[kind] += size
                done += size
    return counts


def _try(kind: str, rng: random.Random, size: int, counts: Counts) -> None:
    content = _CONTENT[kind](rng, size)
    try:
        _check(kind, content, counts)
    except Exception:
        print(f"the input that failed ({kind}): {content!r}", file=sys.stderr)
        raise


def _check(kind: str, content: bytes, counts: Counts) -> None:
    accepted: list[Row] = []
    stopped = "<stdin>"
    reading = read_removed if kind == "removed" else _read
    try:
        for one in reading("-", stdin=io.BytesIO(content), max_record_bytes=LIMIT):
            if isinstance(one, Row):
                _check_row(one)
                assert kind == "removed" or one.sample.response.strip()
                accepted.append(one)
            elif isinstance(one, Rejected):
                _check_refusal(one)
            else:
                assert isinstance(one, bytes)
                assert len(one) == 16
            counts.outcomes["accepted" if not isinstance(one, Rejected) else "refused"] += 1
    except InputError as error:
        stopped = str(error)
        counts.outcomes["stopped"] += 1
    assert stopped.startswith("<stdin>"), stopped
    _check_again(accepted)


def _read(path: str, **options):
    return read([path], **options)


def _check_row(row: Row) -> None:
    """Every text can be stored, and the record is one line of strict JSON that says the same."""
    sample = row.sample
    for text in (sample.prompt, sample.response, sample.system, sample.tools):
        text.encode()
        assert "\0" not in text
    assert len(sample_id(sample)) == 16
    assert b"\n" not in row.raw
    assert len(row.raw) <= 8 * LIMIT
    assert isinstance(json.loads(row.raw), dict)
    assert row.line >= 1


def _check_refusal(refusal: Rejected) -> None:
    told = str(refusal)
    assert told.startswith(f"<stdin>:{refusal.line}: "), told
    assert told.replace("\n", "").isprintable(), told
    assert b"\n" not in refusal.raw


def _check_again(accepted: list[Row]) -> None:
    """The stored records, read as a file of lines, are the same samples."""
    if not accepted:
        return
    lines = b"\n".join(row.raw for row in accepted)
    again = list(_read("-", stdin=io.BytesIO(lines), max_record_bytes=8 * LIMIT, allow_empty=True))
    assert [one.sample for one in again] == [row.sample for row in accepted]


# -- inputs --------------------------------------------------------------------------------------


def record(rng: random.Random) -> dict[str, object]:
    """A right record in one of the layouts that are known."""
    layout = rng.choice(LAYOUTS)
    if "messages" in layout.required:
        turns = CHAT[rng.randrange(2) : rng.choice((3, 5))]
        made: dict[str, object] = {layout.required["messages"]: turns}
    else:
        made = {key: rng.choice(TEXTS) for key in layout.required.values()}
    if rng.random() < 0.3:
        made |= {"id": rng.randrange(10**6), "score": rng.random(), "tags": ["a", None, True]}
    return made


def damaged(rng: random.Random, text: bytes) -> bytes:
    """`text` after nought to three accidents."""
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        at = rng.randrange(len(text) + 1)
        to = min(len(text), at + rng.choice((1, 1, 2, 8, 40)))
        accident = rng.randrange(7)
        if accident == 0:
            text = text[:at] + rng.randbytes(to - at) + text[to:]
        elif accident == 1:
            text = text[:at] + text[to:]
        elif accident == 2:
            text = text[:to] + text[at:]
        elif accident == 3:
            text = text[:at]
        elif accident == 4:
            flipped = bytes(byte ^ 1 << rng.randrange(8) for byte in text[at : at + 1])
            text = text[:at] + flipped + text[at + 1 :]
        else:
            text = text[:at] + rng.choice(NASTY) + text[to if accident == 5 else at :]
    return text


def _line(rng: random.Random) -> bytes:
    ascii_only = rng.random() < 0.5
    return json.dumps(record(rng), ensure_ascii=ascii_only).encode()


def _lines(rng: random.Random, size: int) -> bytes:
    # The first line tells the format; an accident there would hide all others.
    good = b'{"instruction": "a", "output": "b"}'
    return b"\n".join([good, *(damaged(rng, _line(rng)) for _ in range(size))])


def _array(rng: random.Random, _size: int) -> bytes:
    whole = [record(rng) for _ in range(rng.randrange(3))]
    return damaged(rng, json.dumps(whole, indent=rng.choice((None, 1))).encode())


def _csv(rng: random.Random, _size: int) -> bytes:
    cells = [rng.choice(TEXTS).replace('"', '""') for _ in range(4)]
    return damaged(rng, 'question,answer\n"{}","{}"\r\n"{}","{}"\n'.format(*cells).encode())


def _removed(rng: random.Random, _size: int) -> bytes:
    ids = b"\n".join(rng.randbytes(16).hex().encode() for _ in range(3))
    return damaged(rng, ids + b'\n{"sample_id": "' + b"ab" * 16 + b'"}\n' + _line(rng))


def _packed(rng: random.Random, _size: int) -> bytes:
    return damaged(rng, gzip.compress(_line(rng), mtime=0))


_CONTENT = {
    "lines": _lines,
    "array": _array,
    "csv": _csv,
    "removed": _removed,
    "packed": _packed,
}


def main() -> None:
    """Run as a command and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    began = time.monotonic()
    counts = fuzz(asked.inputs, asked.seed)
    seconds = time.monotonic() - began
    print(f"{sum(counts.inputs.values()):,} inputs in {seconds:.0f} s: {dict(counts.inputs)}")
    print(f"nothing escaped; {dict(counts.outcomes)}")


if __name__ == "__main__":
    main()
