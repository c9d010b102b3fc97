"""After a power cut, at any moment, whatever was acknowledged is there whole (P1, P2)."""

from __future__ import annotations

import pytest
import straced
from disk import Disk
from power import cut_everywhere
from straced import Call

pytestmark = pytest.mark.skipif(bool(straced.works()), reason=straced.works() or "strace works")


def test_no_power_cut_loses_or_tears_what_was_acknowledged(scene):
    if scene.place.backend != "sqlite":
        pytest.skip("an object storage is durable when it answers; the model is of a local disk")
    outcome = cut_everywhere(scene, count=1, every=3)
    assert outcome.violations == []
    assert outcome.counts["cuts opened"] >= 20


def call(name, path, *strings, fd=3, result=0, text="", result_path=""):
    return Call("1", name, text, fd, str(path), tuple(strings), result, str(result_path))


@pytest.fixture
def root(tmp_path):
    made = tmp_path / "root"
    made.mkdir()
    return made


def survivors(root, *calls):
    disk = Disk(root, root.parent / "journal")
    for one in calls:
        disk.apply(one)
    return disk.survivors()


def writing(path, content):
    opened = call("openat", "", fd=-1, result=3, text="O_WRONLY|O_CREAT", result_path=path)
    return [opened, call("write", path, content, result=len(content))]


def test_what_nobody_synced_is_lost(root):
    left = survivors(root, *writing(root / "a", b"1"))
    assert left == {"strict": {}, "journaled": {}}


def test_a_synced_file_in_an_unsynced_folder_has_no_name_on_a_strict_disk(root):
    left = survivors(root, *writing(root / "a", b"1"), call("fsync", root / "a"))
    assert left == {"strict": {}, "journaled": {"a": b"1"}}


def test_any_sync_publishes_the_names_of_empty_files_on_a_journaled_disk(root):
    calls = [*writing(root / "a", b"1"), *writing(root / "b", b"2"), call("fsync", root / "b")]
    assert survivors(root, *calls)["journaled"] == {"a": b"", "b": b"2"}


def test_file_and_folder_synced_survive_both(root):
    calls = [*writing(root / "a", b"1"), call("fsync", root / "a"), call("fsync", root)]
    assert survivors(root, *calls) == {"strict": {"a": b"1"}, "journaled": {"a": b"1"}}


def test_what_was_written_after_the_sync_is_lost(root):
    more = [call("write", root / "a", b"23", result=2)]
    calls = [*writing(root / "a", b"1"), call("fsync", root / "a"), call("fsync", root), *more]
    assert survivors(root, *calls)["strict"] == {"a": b"1"}


def test_a_folder_that_its_parent_does_not_know_takes_its_files_along(root):
    path = root / "deep" / "a"
    made = call("mkdir", "", str(root / "deep").encode(), fd=-1)
    calls = [made, *writing(path, b"1"), call("fsync", path), call("fsync", root / "deep")]
    assert survivors(root, *calls)["strict"] == {}
    assert survivors(root, *calls, call("fsync", root))["strict"] == {"deep/a": b"1"}


def test_a_rename_is_lost_with_its_folder(root):
    (root / "old").write_bytes(b"1")
    paths = [str(root / "old").encode(), str(root / "new").encode()]
    renamed = call("renameat", "", *paths, fd=-1)
    assert survivors(root, renamed)["strict"] == {"old": b"1"}
    assert survivors(root, renamed, call("fsync", root))["strict"] == {"new": b"1"}


def test_the_model_notices_what_the_trace_did_not_tell(root):
    disk = Disk(root, root.parent / "journal")
    (root / "unseen").write_bytes(b"1")
    assert disk.differences() == ["unseen"]


def test_a_call_that_the_model_does_not_know_is_no_silent_gap(root):
    disk = Disk(root, root.parent / "journal")
    with pytest.raises(NotImplementedError, match="sendfile"):
        disk.apply(call("sendfile", root / "a"))
