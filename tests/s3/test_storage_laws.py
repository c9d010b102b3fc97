"""What a folder and a bucket must both do: the laws of `Storage`."""

from __future__ import annotations

import hashlib
import os
import threading
import time

import pytest

from influence_store.errors import IntegrityError, NotFound, UsageError
from influence_store.store.location import create

LARGE = 20_000_003  # three parts of an object


def paths(storage, prefix: str = "") -> list[str]:
    return [file.path for file in storage.files(prefix)]


def test_what_was_put_is_read(storage):
    storage.put("objects/ab/one", b"1")
    storage.put("objects/ab/one", b"other")
    assert storage.read("objects/ab/one") == b"other"
    assert storage.exists("objects/ab/one")
    storage.put("empty", b"")
    assert storage.read("empty") == b""


def test_what_is_not_there_is_not_found(storage):
    assert storage.files() == storage.files("blocks") == []
    assert not storage.exists("objects/one")
    with pytest.raises(NotFound, match="objects/one"):
        storage.read("objects/one")
    with pytest.raises(NotFound, match="objects/one"), storage.stream("objects/one"):
        pass
    with pytest.raises(NotFound, match="objects/one"):
        storage.move("objects/one", "objects/two")


def test_a_folder_is_no_file_and_no_prefix_of_a_name(storage):
    storage.put("blocks/a/one", b"1")
    storage.put("blocks/ab/two", b"2")
    assert not storage.exists("blocks/a")
    assert paths(storage, "blocks/a") == ["blocks/a/one"]


def test_only_the_first_create_writes(storage):
    assert storage.create("store.json", b"first")
    assert not storage.create("store.json", b"second")
    assert not storage.create("store.json", b"first")
    assert storage.read("store.json") == b"first"
    storage.delete(["store.json"])
    assert storage.create("store.json", b"third")


def test_one_of_many_creators_wins(storage):
    together, won = threading.Barrier(8), []

    def racer(k: int) -> None:
        together.wait()
        if storage.create("objects/one", b"%d" % k):
            won.append(k)

    threads = [threading.Thread(target=racer, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [storage.read("objects/one")] == [b"%d" % k for k in won]


def test_files_are_listed_in_path_order_with_size_and_time(storage):
    before = time.time()
    for path in ("b/2", "a/10", "a/9", "c", "a/b/c"):
        storage.put(path, path.encode())
    assert paths(storage) == ["a/10", "a/9", "a/b/c", "b/2", "c"]
    assert paths(storage, "a") == ["a/10", "a/9", "a/b/c"]
    for file in storage.files():
        assert file.size == len(file.path)
        assert before - 2 <= file.modified <= time.time() + 2  # S3 tells whole seconds


def test_more_files_than_fit_a_page_are_listed_and_deleted(objects, s3):
    # Only of interest where lists and deletions come in pages of 1,000.
    from moto.s3.models import s3_backends

    wanted = [f"{k:04d}" for k in range(1001)]
    bucket, _, prefix = objects.uri.removeprefix("s3://").partition("/")
    server = s3_backends["123456789012"]["aws"]
    for path in wanted:
        server.put_object(bucket, f"{prefix}/{path}", b"")
    # A foreign place is known by the first page.
    with pytest.raises(UsageError, match="it holds 0000"):
        create(objects.uri, "postgresql+psycopg://nobody@nowhere/never")
    assert len([url for _, url in s3.requests if "list-type" in url]) == 1
    assert paths(objects) == wanted
    objects.delete(wanted)
    assert paths(objects) == []


@pytest.mark.parametrize("path", ["../out", "a/../../out", "a/../b", "/nowhere/out", "a//b", "./a"])
def test_no_path_leads_out_of_the_store(storage, path):
    def opened():
        with storage.stream(path):
            pass

    storage.put("here", b"1")
    for use in (
        lambda: storage.table_uri(path),
        lambda: storage.files(path),
        lambda: storage.exists(path),
        lambda: storage.read(path),
        opened,
        lambda: storage.put(path, b"2"),
        lambda: storage.create(path, b"2"),
        lambda: storage.settle(path),
        lambda: storage.delete(["here", path]),
        lambda: storage.move(path, "there"),
        lambda: storage.move("here", path),
    ):
        with pytest.raises(IntegrityError, match="is no path inside a store"):
            use()


def test_deleting_what_is_gone_is_no_error(storage):
    storage.put("a/one", b"1")
    storage.put("a/two", b"2")
    storage.delete(["a/one", "a/never-there"])
    storage.delete(iter(["a/one"]))
    storage.delete([])
    assert paths(storage) == ["a/two"]


def test_a_moved_file_lies_in_one_place(storage):
    storage.put("blocks/one", b"1")
    storage.put("quarantine/one", b"older")
    storage.move("blocks/one", "quarantine/one")
    assert paths(storage) == ["quarantine/one"]
    assert storage.read("quarantine/one") == b"1"


def test_a_stream_is_the_whole_file_in_any_portions(storage):
    content = os.urandom(LARGE)
    storage.put("large", content)
    assert storage.read("large") == content
    with storage.stream("large") as stream:
        digest = hashlib.file_digest(stream, "sha256").digest()
    assert digest == hashlib.sha256(content).digest()
    with storage.stream("large") as stream:
        got = [stream.read(1), stream.read(9_000_000), stream.read(5), stream.read(), stream.read()]
    assert [len(part) for part in got] == [1, 9_000_000, 5, LARGE - 9_000_006, 0]
    assert b"".join(got) == content


def test_settled_files_stay_as_they_are(storage):
    storage.put("blocks/one.lance/data/1", b"1")
    storage.put("blocks/one.lance/_versions/1", b"22")
    storage.settle("blocks/one.lance")
    assert [(file.path, file.size) for file in storage.files()] == [
        ("blocks/one.lance/_versions/1", 2),
        ("blocks/one.lance/data/1", 1),
    ]


def test_the_probe_leaves_nothing(storage):
    storage.probe()
    assert storage.files() == []
