"""JSON arrays, CSV and Parquet give the same samples as JSONL, and name their own faults."""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from influence_store.errors import InputError
from influence_store.ingest import Rejected, Row, read
from influence_store.ingest.json_array import ElementCutter
from influence_store.ingest.rows import Malformed
from influence_store.schema.sample import Sample

RECORDS = [
    {"instruction": 'say "hi",\nplease', "input": "", "output": "[hi]", "n": "1"},
    {"instruction": "ça va?", "input": "x\r\ny", "output": "oui \u2028", "n": "2"},
]
SAMPLES = [
    Sample.of('say "hi",\nplease', "[hi]"),
    Sample.of("ça va?\n\nx\r\ny", "oui \u2028"),
]


def write(path, records):
    if path.name.startswith("a.json"):
        data = json.dumps(records, indent=2).encode()
    elif path.name.startswith("a.csv"):
        text = io.StringIO()
        table = csv.DictWriter(text, list(records[0]))
        table.writeheader()
        table.writerows(records)
        data = text.getvalue().encode()
    else:
        sink = io.BytesIO()
        parquet.write_table(pa.Table.from_pylist(records), sink)
        data = sink.getvalue()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def read_text(tmp_path, name, text, **options):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read([path], **options))


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.parquet", "a.json.gz", "a.parquet.gz"])
def test_all_formats_give_the_same_samples_and_one_line_of_raw_json(tmp_path, name):
    rows = list(read([write(tmp_path / name, RECORDS)]))
    assert [row.sample for row in rows] == SAMPLES
    assert [json.loads(row.raw) for row in rows] == RECORDS
    assert [row.extra for row in rows] == [{"n": "1"}, {"n": "2"}]
    (tmp_path / "again.jsonl").write_bytes(b"\n".join(row.raw for row in rows))
    assert [row.sample for row in read([tmp_path / "again.jsonl"])] == SAMPLES


def test_standard_input_may_be_parquet(tmp_path):
    content = write(tmp_path / "a.parquet", RECORDS).read_bytes()
    assert [row.sample for row in read(["-"], stdin=io.BytesIO(content))] == SAMPLES


# -- JSON array ------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.text(max_size=3), st.text(max_size=5) | st.just([1, [2]]), max_size=3)
        | st.integers()
        | st.text('"\\[]{},a', max_size=6),
        max_size=4,
    ),
    st.integers(1, 40),
    st.sampled_from([None, 1]),
)
def test_an_array_is_cut_into_its_elements_wherever_the_chunks_end(values, size, indent):
    data = json.dumps(values, indent=indent).encode()
    array = ElementCutter("f", 1_000_000)
    parts = [data[k : k + size] for k in range(0, len(data), size)]
    assert [json.loads(one) for part in parts for one in array.feed(part)] == values
    assert array.closed


def test_a_bad_element_is_rejected_by_its_position(tmp_path):
    text = '[{"prompt": "a", "completion": "b"},\n 3,\n {"a": 1,\n "a": 2}, ]'
    rows = read_text(tmp_path, "a.json", text)
    assert [row.line for row in rows] == [1, 2, 3, 4]
    assert isinstance(rows[0], Row)
    assert "found number 3" in rows[1].reason
    assert "twice" in rows[2].reason
    assert "not JSON" in rows[3].reason
    assert rows[2].raw == b'{"a": 1,  "a": 2}'


def test_a_torn_array_is_named_as_such(tmp_path):
    good, torn = read_text(tmp_path, "a.json", '[{"prompt": "a", "completion": "b"}, {"prompt": "x')
    assert isinstance(good, Row)
    assert "ends before the closing ]" in torn.reason
    assert torn.line == 2


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[]", "0 records"),
        ("[ \n ]", "0 records"),
        ('[{"prompt": "a", "completion": "b"}] x', "follows the closing"),
        ('[{"prompt": "a", "completion": "%s"}]' % ("b" * 200), "record 1: record longer than 100"),
    ],
)
def test_an_array_that_cannot_be_read_on_stops(tmp_path, text, match):
    with pytest.raises(InputError, match=match):
        read_text(tmp_path, "a.json", text, max_record_bytes=100)


# -- CSV -------------------------------------------------------------------------------------


def test_csv_rows_are_named_by_the_line_they_start_on(tmp_path):
    rows = read_text(tmp_path, "a.csv", 'prompt,completion\n"a\nb",c\n\nd,e\n')
    assert [(row.line, row.sample) for row in rows] == [
        (2, Sample.of("a\nb", "c")),
        (5, Sample.of("d", "e")),
    ]


@pytest.mark.parametrize("cells", ["a", "a,b,c"])
def test_a_csv_record_with_the_wrong_number_of_cells_is_rejected(tmp_path, cells):
    bad, good = read_text(tmp_path, "a.csv", f"prompt,completion\n{cells}\nd,e\n")
    assert f"found {cells.count(',') + 1} cells, expected 2" in bad.reason
    assert json.loads(bad.raw) == {"_csv": f"{cells}\n"}
    assert good.sample == Sample.of("d", "e")


def test_latin1_in_a_csv_cell_is_rejected_with_its_offset_and_reading_goes_on(tmp_path):
    text = b'prompt,completion\n"caf\xe9\nx",b\nd,e\n'
    bad, good = read_text(tmp_path, "a.csv", text)
    assert "byte 0xe9 at offset 4 of the record is not UTF-8" in bad.reason
    assert good.line == 4


def test_nul_in_a_csv_cell_is_rejected(tmp_path):
    (bad,) = read_text(tmp_path, "a.csv", b"prompt,completion\na\0b,c\n")
    assert "prompt: contains NUL" in bad.reason


def test_a_cell_larger_than_the_csv_modules_own_limit_is_read(tmp_path):
    (row,) = read_text(tmp_path, "a.csv", f"prompt,completion\n{'x' * 200_000},b\n")
    assert len(row.sample.prompt) == 200_000


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("prompt,completion\n", "0 records"),
        ("prompt,prompt\na,b\n", "'prompt' appears twice"),
        ("prompt;answer\na;b\n", "found one column, 'prompt;answer'[\\s\\S]*';' seems to separate"),
        ("who,what\na,b\n", "no schema fits the keys"),
        ('prompt,completion\n"a"b,c\nd,e\n', "a.csv:2: broken CSV"),
        ('prompt,completion\na,b\n"never closed,c\nd,e\n', "a.csv:3: broken CSV"),
        (f'prompt,completion\n"{"x" * 40}\n{"y" * 80}",c\n', "a.csv:2: record longer than 100"),
        (b"pr\xe9,completion\na,b\n", "column names are not UTF-8"),
    ],
)
def test_a_csv_that_cannot_be_read_on_stops(tmp_path, text, match):
    with pytest.raises(InputError, match=match):
        read_text(tmp_path, "a.csv", text, max_record_bytes=100)


# -- Parquet ---------------------------------------------------------------------------------


def parquet_rows(tmp_path, table):
    parquet.write_table(table, tmp_path / "a.parquet")
    return list(read([tmp_path / "a.parquet"]))


def test_nested_parquet_messages_are_a_conversation(tmp_path):
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    rows = parquet_rows(tmp_path, pa.Table.from_pylist([{"messages": turns, "prompt": None}]))
    assert rows[0].sample == Sample.of("q", "a")


def test_a_null_column_of_a_union_table_does_not_make_the_schema_ambiguous(tmp_path):
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    table = pa.Table.from_pylist(
        [
            {"messages": turns, "prompt": None, "completion": None},
            {"messages": None, "prompt": "q", "completion": "a"},
            {"messages": None, "prompt": None, "completion": None},
        ]
    )
    first, second, third = parquet_rows(tmp_path, table)
    assert first.sample == second.sample
    assert isinstance(third, Rejected)


@pytest.mark.parametrize(
    ("column", "match"),
    [
        (pa.array([b"x", None]), "cannot be written as JSON: found bytes"),
        (pa.array([float("nan"), None]), "cannot be written as JSON"),
        (pa.array([2**63, None], pa.uint64()), "does not fit 64 bits"),
        (pa.array(["a\0b", None]), "extra: contains NUL"),
        (pa.array([b"\xff", None]).view(pa.string()), "a cell cannot be read"),
    ],
    ids=["bytes", "nan", "uint64", "nul", "not-utf8"],
)
def test_a_value_json_cannot_hold_rejects_its_row_only(tmp_path, column, match):
    table = pa.table({"prompt": ["q", "q"], "completion": ["a", "a"], "extra": column})
    bad, good = parquet_rows(tmp_path, table)
    assert match in bad.reason
    assert (bad.line, good.line) == (1, 2)


def test_dates_become_iso_text(tmp_path):
    day = datetime.date(2026, 1, 2)
    table = pa.table({"prompt": ["q"], "completion": ["a"], "day": [day]})
    assert parquet_rows(tmp_path, table)[0].extra == {"day": "2026-01-02"}


def test_a_damaged_parquet_file_is_an_input_error(tmp_path):
    path = write(tmp_path / "a.parquet", RECORDS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="damaged Parquet"):
        list(read([path]))


def test_columns_that_fit_no_schema_stop_at_once(tmp_path):
    with pytest.raises(InputError, match=r"no schema fits.*\n.*--map instruction="):
        parquet_rows(tmp_path, pa.table({"who": ["a"], "what": ["b"]}))


def test_a_malformed_reason_needs_no_place_to_be_an_error():
    assert str(Malformed("why").rejected("f", 3, b"")) == "f:3: why"
