"""A bucket that misbehaves, and who may know what: errors, retries and secrets of ObjectStorage."""

from __future__ import annotations

import os

import pytest
from fault_proxy import Fault
from s3_server import CANARIES

from influence_store.errors import Forbidden, NotFound, StorageError, UsageError
from influence_store.store import objects as module
from influence_store.store.objects import ObjectStorage

FOREVER = 10**6
PART = 100_000


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of 100 kB, to spare the time of large ones."""
    monkeypatch.setattr(module, "PART_BYTES", PART)


def told(error: pytest.ExceptionInfo) -> str:
    """The message, which holds no secret."""
    message = str(error.value)
    assert not [canary for canary in CANARIES if canary in message]
    return message


@pytest.mark.parametrize("kind", ["stored-500", "stored-dropped", "500"])
def test_one_failure_is_made_good(s3, objects, kind):
    with s3.failing(Fault(kind, "PUT", "put")) as put:
        objects.put("put", b"1")
    with s3.failing(Fault(kind, "PUT", "created")) as create:
        assert objects.create("created", b"1"), "its own first attempt is not another writer"
        assert not objects.create("created", b"1")
    with s3.failing(Fault(kind, "POST", "delete")) as delete:
        objects.delete(["put"])
    with s3.failing(Fault("500", "GET", "list-type")) as listed:
        assert [file.path for file in objects.files()] == ["created"]
    assert put.hits == create.hits == delete.hits == listed.hits == 1


@pytest.mark.parametrize("kind", ["500", "stored-500", "stored-dropped"])
def test_a_bucket_that_keeps_failing_is_a_storage_error(s3, objects, kind):
    with (
        s3.failing(Fault(kind, "PUT", times=FOREVER)) as fault,
        pytest.raises(StorageError) as error,
    ):
        objects.put("blocks/one", b"1")
    assert fault.hits == 3
    assert "blocks/one" in told(error)
    assert "run the command again" in told(error)


def test_a_slow_bucket_is_waited_for(s3, objects):
    with s3.failing(Fault("slow", "PUT")):
        objects.put("one", b"1")
    assert objects.read("one") == b"1"


def test_a_cut_answer_is_read_on(s3, objects, small_parts):
    content = os.urandom(PART + 1)
    objects.create("large", content)
    objects.put("small", content[:1000])
    for path in ("large", "small"):
        with s3.failing(Fault("cut", "GET", path, times=2)) as fault:
            assert objects.read(path) == content[: 1000 if path == "small" else None]
        assert fault.hits == 2
    with s3.failing(Fault("cut", "GET", times=FOREVER)), pytest.raises(StorageError) as error:
        objects.read("small")
    assert "small" in told(error)


def test_an_object_that_changes_while_it_is_read_is_an_error(objects, small_parts):
    objects.create("large", os.urandom(2 * PART))
    with objects.stream("large") as stream:
        stream.read(1)
        objects.delete(["large"])
        objects.create("large", os.urandom(2 * PART))
        with pytest.raises(StorageError, match="large: S3 answered 412"):
            stream.read()


def test_a_large_object_is_read_part_by_part(s3, objects, small_parts):
    objects.create("large", os.urandom(3 * PART))
    s3.requests.clear()
    with objects.stream("large") as stream:
        stream.read(PART // 2)
        assert len(s3.requests) == 1
        while stream.read(PART // 2):
            pass
    assert len(s3.requests) == 3


@pytest.mark.parametrize(
    ("method", "ask"),
    [
        ("PUT", lambda storage: storage.put("a", b"1")),
        ("PUT", lambda storage: storage.create("a", b"1")),
        ("PUT", lambda storage: storage.move("there", "b")),
        ("PUT", lambda storage: storage.probe()),
        ("GET", lambda storage: storage.read("there")),
        ("GET", lambda storage: storage.files()),
        ("HEAD", lambda storage: storage.exists("there")),
        ("POST", lambda storage: storage.delete(["there"])),
    ],
)
def test_what_is_not_allowed_is_forbidden(s3, objects, method, ask):
    objects.put("there", b"1")
    with s3.failing(Fault("403", method, times=FOREVER)), pytest.raises(Forbidden) as error:
        ask(objects)
    assert objects.uri in told(error)


def test_a_deletion_that_is_refused_key_by_key_is_forbidden(s3, objects):
    objects.put("there", b"1")
    with s3.failing(Fault("kept", "POST")), pytest.raises(Forbidden):
        objects.delete(["there"])


@pytest.mark.parametrize(
    "ask",
    [
        lambda storage: storage.put("a", b"1"),
        lambda storage: storage.create("a", b"1"),
        lambda storage: storage.read("a"),
        lambda storage: storage.files(),
        lambda storage: storage.delete(["a"]),
        lambda storage: storage.probe(),
    ],
)
def test_a_bucket_that_does_not_exist_is_named(s3, ask):
    with pytest.raises(NotFound) as error:
        ask(ObjectStorage("s3://no-such-bucket/team", retries=2))
    assert "there is no bucket no-such-bucket" in told(error)


def test_a_server_that_is_away_is_a_storage_error(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError) as error:
        ObjectStorage("s3://stores/team", retries=2).files()
    assert "s3://stores/team" in told(error)


def test_a_bucket_that_ignores_put_if_absent_is_refused(s3, objects):
    with (
        s3.failing(Fault("no-precondition", "PUT", times=FOREVER)),
        pytest.raises(StorageError, match="does not honour put-if-absent"),
    ):
        objects.probe()
    assert objects.files() == []


def test_a_listing_that_is_behind_is_noticed(s3, objects, monkeypatch):
    objects.put("blocks/one.lance/data", b"1")
    listed = objects.files("blocks/one.lance")
    objects.put("blocks/one.lance/data", b"22")
    monkeypatch.setattr(objects, "files", lambda _: listed)
    with pytest.raises(StorageError, match="with 1 bytes, but it has 2"):
        objects.settle("blocks/one.lance")
    monkeypatch.undo()


def test_a_listing_that_shows_nothing_is_noticed(objects):
    with pytest.raises(StorageError, match="does not list"):
        objects.settle("blocks/one.lance")


@pytest.mark.parametrize(
    "uri",
    [
        "s3://canary-id:canary-secret@stores/team",
        "s3://canary-id:canary-secret@stores",
        "s3://stores/team?secret=canary-secret",
        "s3://stores/team#canary-secret",
        "s3://canary-id:canary-secret/team",
        "s3://",
        "s3:///team",
        "s3://stores//team",
        "s3://stores/../other",
        "s3://stores/./team",
        "s3://stores/a b",
        "s3://stores/%2e%2e/other",
        "s3://stores/team\n",
        "s3://Stores/team",
    ],
)
def test_addresses_that_are_none_are_refused_without_repeating_them(s3, uri):
    with pytest.raises(UsageError) as error:
        ObjectStorage(uri)
    assert "s3://bucket/prefix" in told(error)
    assert s3.requests == []


@pytest.mark.parametrize(
    ("uri", "root"),
    [("s3://stores", ""), ("s3://stores/", ""), ("s3://stores/a.b/c-1_/", "a.b/c-1_/")],
)
def test_files_lie_below_the_prefix(s3, uri, root):
    storage = ObjectStorage(uri)
    storage.put("probe", b"1")
    assert s3.requests == [("PUT", f"/stores/{root}probe")]
    assert storage.table_uri("blocks/x.lance") == f"s3://stores/{root}blocks/x.lance"
    storage.delete(["probe"])


def test_plain_http_must_be_asked_for(s3, monkeypatch):
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(UsageError, match="AWS_ALLOW_HTTP"):
        ObjectStorage("s3://stores/team")


def test_missing_credentials_are_said_at_once(s3, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    # The role of a cloud machine is asked for at this address; here there is nobody.
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Forbidden, match="there are no credentials"):
        ObjectStorage("s3://stores/team", retries=2).files()


def test_lance_is_told_the_place_and_no_secret(s3, objects):
    assert objects.lance_options == {
        "aws_endpoint": s3.endpoint,
        "aws_region": "us-east-1",
        "allow_http": "true",
        "client_max_retries": "2",
        "client_retry_timeout": "15",
        "lance_aimd_max_retries": "0",
    }
