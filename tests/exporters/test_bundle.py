"""An export is whole or absent, and its manifest vouches for every byte."""

from __future__ import annotations

import hashlib
import json
import math

import pyarrow.parquet as pq
import pytest

from influence_store.errors import InputError, NotFound, StorageError, UsageError
from influence_store.exporters import EXPORTERS
from influence_store.exporters.bundle import ExportRow
from influence_store.schema.identity import sample_id
from influence_store.schema.sample import Sample

PROVENANCE = {"dataset": "chats", "version": 3, "selection": "s1", "objective": "facility-location"}


def export_rows(n: int):
    for k in range(n):
        sample = Sample.of(f"q{k}", f"a{k}")
        raw = b'{"prompt": "q%d", "completion": "a%d"}' % (k, k)
        yield ExportRow(
            k, sample_id(sample).hex(), sample, raw, "a.jsonl", 10 + k, 1 / (k + 1), {"inf": k / 2}
        )


def failing_rows():
    yield from export_rows(3)
    raise RuntimeError("the disk was pulled out")


def tree(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def rows_of(path):
    """The rows of a data file, as text."""
    if path.suffix == ".parquet":
        return [json.dumps(row) for row in pq.read_table(path).to_pylist()]
    return path.read_text().splitlines()


def rows_in(folder):
    (data,) = folder.glob("train.*")
    return rows_of(data)


@pytest.fixture(params=sorted(EXPORTERS.builtin))
def export(request):
    return EXPORTERS.get(request.param)


def test_an_unknown_exporter_names_the_nearest():
    with pytest.raises(NotFound, match="did you mean jsonl"):
        EXPORTERS.get("json")


def test_the_manifest_has_the_digest_size_and_rows_of_every_other_file(tmp_path, export):
    out = export(export_rows(5), tmp_path / "new" / "out", PROVENANCE)
    files = tree(out)
    manifest = json.loads(files.pop("manifest.json"))
    assert manifest["provenance"] == PROVENANCE
    assert manifest["rows"] == 5
    assert manifest["files"] == {
        name: {
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "rows": len(rows_of(out / name)) if name == "train.parquet" else data.count(b"\n"),
        }
        for name, data in files.items()
    }


def test_every_row_leads_back_to_its_file_and_line(tmp_path, export):
    out = export(export_rows(4), tmp_path / "out", PROVENANCE)
    origins = [json.loads(line) for line in (out / "provenance.jsonl").read_bytes().splitlines()]
    data = rows_in(out)
    assert len(origins) == len(data) == 4
    for k, (row, origin) in enumerate(zip(export_rows(4), origins, strict=True)):
        assert origin == {
            "rank": row.rank,
            "sample_id": row.sample_id,
            "file": "a.jsonl",
            "line": 10 + k,
            "gain": row.gain,
            "values": {"inf": k / 2},
        }
        assert f"q{k}" in data[k]


def test_the_same_rows_give_the_same_bytes(tmp_path, export):
    first = export(export_rows(5), tmp_path / "a", PROVENANCE)
    second = export(export_rows(5), tmp_path / "b", PROVENANCE)
    assert tree(first) == tree(second)


def test_rows_that_fail_midway_leave_nothing(tmp_path, export):
    with pytest.raises(RuntimeError, match="pulled out"):
        export(failing_rows(), tmp_path / "out", PROVENANCE)
    assert list(tmp_path.iterdir()) == []


def test_rows_that_fail_midway_leave_the_older_export_as_it_was(tmp_path, export):
    out = export(export_rows(2), tmp_path / "out", PROVENANCE)
    before = tree(out)
    with pytest.raises(RuntimeError, match="pulled out"):
        export(failing_rows(), out, PROVENANCE, overwrite=True)
    assert tree(out) == before
    assert list(tmp_path.iterdir()) == [out]


def test_what_a_killed_export_left_behind_is_no_obstacle(tmp_path, export):
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part" / "junk").write_text("half")
    out = export(export_rows(2), tmp_path / "out", PROVENANCE)
    assert "junk" not in tree(out)
    assert list(tmp_path.iterdir()) == [out]


def test_an_export_replaces_another_only_when_told(tmp_path, export):
    out = export(export_rows(2), tmp_path / "out", PROVENANCE)
    with pytest.raises(UsageError, match=r"not empty\n.*--overwrite"):
        export(export_rows(3), out, PROVENANCE)
    export(export_rows(3), out, PROVENANCE, overwrite=True)
    assert len(rows_in(out)) == 3
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("manifest", [None, "not json", "[]", '{"format": "other"}'])
def test_a_folder_that_is_no_export_is_never_overwritten(tmp_path, export, manifest):
    (tmp_path / "thesis.tex").write_text("years of work")
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    before = tree(tmp_path)
    with pytest.raises(UsageError, match="not an export"):
        export(export_rows(3), tmp_path, PROVENANCE, overwrite=True)
    assert tree(tmp_path) == before


def test_an_empty_folder_is_taken_and_a_file_is_refused(tmp_path, export):
    (tmp_path / "empty").mkdir()
    assert (export(export_rows(1), tmp_path / "empty", PROVENANCE) / "manifest.json").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is a file"):
        export(export_rows(1), tmp_path / "file", PROVENANCE)


def test_an_empty_selection_is_refused(tmp_path, export):
    with pytest.raises(InputError, match="selection is empty"):
        export(iter(()), tmp_path / "out", PROVENANCE)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_disk_is_a_storage_error(tmp_path, export):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="failed"):
        export(export_rows(1), tmp_path / "file" / "out", PROVENANCE)


def test_a_missing_value_is_null_in_the_provenance(tmp_path, export):
    row = next(export_rows(1))
    row = ExportRow(
        row.rank, row.sample_id, row.sample, row.raw, row.file, row.line, 1.0, {"e": math.nan}
    )
    out = export([row], tmp_path / "out", PROVENANCE)
    assert json.loads((out / "provenance.jsonl").read_text())["values"] == {"e": None}


def test_the_stanza_is_a_file_of_its_own_and_in_the_manifest(tmp_path, export):
    out = export(export_rows(1), tmp_path / "out", PROVENANCE)
    manifest = json.loads((out / "manifest.json").read_text())
    assert (out / manifest["usage_file"]).read_text() == manifest["usage"]
    if manifest["usage_file"].endswith(".py"):
        compile(manifest["usage"], "usage", "exec")
