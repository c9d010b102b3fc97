"""What differs between two versions, as numbers that can be checked by hand."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from pyroaring import BitMap
from scipy import stats

from influence_store.jobs.diff import diff
from influence_store.jobs.ingest import ingest
from influence_store.schema import tables


def score(store, version, values):
    """A pointwise column: NaN is null."""
    producer = store.producer("points", "m", {"outputs": ["value"]}, higher_means="helpful")
    sids = version.sids
    columns = [
        pa.array(sids),
        pa.array(values, pa.float64(), from_pandas=True),
        pa.array(np.ones(len(sids), np.int64)),
        pa.array(np.zeros(len(sids), np.bool_)),
    ]
    batch = pa.record_batch(columns, schema=tables.points(("value",)))
    with store.claim("label", "x", {}) as run:
        bits = BitMap(version.bits)
        run.publish([run.stage("points", [batch], batch.schema, bits, producer_id=producer.id)])


def test_rows_are_counted_by_file_and_by_the_keys_of_their_records(three):
    store = three.store
    three.add(range(14, 20), removed=(0, 1, 3), embedded=False)
    report = diff(store, store.version("demo@3"), store.version("demo@4"))
    assert (report.added, report.removed, report.kept) == (6, 3, 11)
    by_name = {one.name: one for one in report.attributes}
    assert set(by_name) == {"file", "source"}
    counts = {one["value"]: (one["added"], one["removed"], one["kept"])
              for one in by_name["source"].changed}  # fmt: skip
    # 14 … 19 are new, 0, 1 and 3 went: k % 3 names the source
    assert counts == {"web": (2, 2, 3), "books": (2, 1, 4), "code": (2, 0, 4)}
    assert by_name["file"].changed[0]["added"] == 6
    assert sum(one["kept"] for one in by_name["file"].changed) == 11


def test_two_datasets_are_compared_by_content(three):
    store = three.store
    three.add(range(10, 25), "other", embedded=False)
    report = diff(store, store.version("demo"), store.version("other"))
    assert (report.added, report.removed, report.kept) == (11, 10, 4)
    there = diff(store, store.version("other"), store.version("demo"))
    assert (there.added, there.removed, there.kept) == (10, 11, 4)


def test_the_same_version_differs_in_nothing(three):
    version = three.store.version("demo")
    report = diff(three.store, version, version, show=5)
    assert (report.added, report.removed, report.kept) == (0, 0, 14)
    assert all(one.added_to_old is None for one in report.columns)
    assert report.added_rows == report.removed_rows == ()
    assert report.lines()[0] == "demo@3 → demo@3: 0 rows added, 0 removed, 14 kept"


def test_a_shift_of_influence_is_measured_against_the_old_rows(three):
    store = three.store
    three.add(range(14, 40), removed=(0, 1), embedded=False)
    both = store.version("demo@4")
    old = store.version("demo@3")
    rng = np.random.default_rng(5)
    whole = store.version("demo@4").bits | old.bits
    everything = type(both)(both.id, both.dataset_id, "demo", 4, whole)
    values = rng.normal(size=len(whole))
    values[14:] += 2.0
    values[[5, 20]] = np.nan
    score(store, everything, values)
    (column,) = (one for one in diff(store, old, both).columns if one.column == "inf_value")
    added, before = np.delete(values[14:], 6), np.delete(values[:14], 5)
    assert column.higher_means == "helpful"
    assert (column.added.rows, column.removed.rows, column.kept.rows) == (25, 2, 11)
    found = column.added_to_old
    assert found.median_shift == pytest.approx(np.median(added) - np.median(before))
    assert found.distance == pytest.approx(stats.ks_2samp(added, before).statistic)
    wins = (added[:, None] > before[None, :]).mean()
    assert found.above == pytest.approx(wins)
    np.testing.assert_allclose(
        column.added.quantiles, np.quantile(added, (0.05, 0.25, 0.5, 0.75, 0.95))
    )
    assert column.removed_to_kept.median_shift == pytest.approx(
        np.median(values[:2]) - np.median(np.delete(values[2:14], 3))
    )


def test_a_column_that_one_version_lacks_is_left_out(three):
    store = three.store
    score(store, store.version("demo@1"), np.ones(10))
    three.add(range(50, 60), "other", embedded=False)
    names = [
        one.column for one in diff(store, store.version("demo@1"), store.version("other")).columns
    ]
    assert names == ["prompt_chars", "response_chars"]


def test_added_rows_that_nearly_repeat_old_ones_are_counted(three):
    store = three.store
    one, two = store.version("demo@2"), store.version("demo@3")
    new = sorted(two.bits - one.bits)
    producer = store.producer("duplicates", "words", {})
    edges = [(new[0], 3, 0.9), (new[1], new[0], 0.9), (5, 4, 0.95)]
    columns = [pa.array(list(values)) for values in zip(*edges, strict=True)]
    batch = pa.record_batch(columns, schema=tables.DUPLICATES)
    assert diff(store, one, two).near == ()
    with store.claim("duplicates", "d", {}) as run:
        bits = BitMap(two.bits)
        run.publish([run.stage("duplicates", [batch], batch.schema, bits, producer_id=producer.id)])
    (near,) = diff(store, one, two).near
    assert (near.how, near.compared, near.near) == ("words", 2, 1)


def test_texts_are_shown_with_control_characters_escaped(three, tmp_path):
    store = three.store
    path = tmp_path / "evil.jsonl"
    path.write_text(
        '{"instruction": "\\u001b[2Jgone\\u202eevil", "output": "x", "\\u001bkey": "v"}\n'
    )
    ingest(store, [str(path)], "demo")
    report = diff(store, store.version("demo@3"), store.version("demo@4"), show=5)
    told = "\n".join(report.lines())
    assert "\\x1b[2Jgone\\u202eevil" in told
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert [row["text"] for row in report.added_rows] == ["\x1b[2Jgone\u202eevil"]
    assert report.facts()["added"] == 1


def test_a_key_that_names_rows_is_no_group_of_rows(store, tmp_path):
    for version in (1, 2):
        path = tmp_path / f"{version}.jsonl"
        rows = [
            {"prompt": f"{k}?", "response": "yes", "id": f"q{k}", "topic": f"t{k // 2}"}
            for k in range(30 * version)
        ]
        unnamed = [{"prompt": f"{k}!", "response": "no", "topic": "t"} for k in range(9)]
        path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *unnamed]))
        ingest(store, [str(path)], "demo")
    report = diff(store, store.version("demo@1"), store.version("demo@2"))
    assert [one.name for one in report.attributes] == ["file", "topic"]
