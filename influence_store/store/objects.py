"""A store in a bucket of S3, or of a server that speaks its protocol.

Where the bucket is and who we are comes from the environment (AWS_ENDPOINT_URL, AWS_REGION,
AWS_ACCESS_KEY_ID …) or from the machine's own role, for us and for LanceDB alike. An object is
durable and wholly there once its PUT was answered, so nothing is left to sync.
"""

from __future__ import annotations

import io
import os
import re
import uuid
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from influence_store.errors import Forbidden, NotFound, StorageError, Unreachable, UsageError
from influence_store.extras import require
from influence_store.redact import redact
from influence_store.store.storage import StoredFile, inside

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from influence_store.errors import InfluenceStoreError

_URI = re.compile(
    r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?P<prefix>(/[\w.-]+)*)/?", re.A
)
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")

#: One request reads or writes this much of a large object, so that none outlasts its timeout.
PART_BYTES = 8 << 20
#: Uploads of parts at the same time.
_UPLOADS = 4
#: Retries of one request end after this time, whatever their number.
_RETRY_SECONDS = 60
#: LanceDB asks up to so many times anew where we do once.
_LANCE_ROUNDS = 4
#: Says which `create` wrote an object, in its metadata.
_WRITER = "influence-store-writer"


class ObjectStorage:
    """Objects below `s3://bucket/prefix`.

    A request that fails with a 5xx or on the way is sent again, up to `retries` times and for a
    minute at most.
    """

    def __init__(self, uri: str, retries: int = 10) -> None:
        self._obstore = require("obstore", extra="s3")
        self._bucket, prefix = _parse(uri)
        self.uri = f"s3://{self._bucket}{prefix}"
        self._retries = retries
        _refuse_plain_http()
        self._store = self._obstore.store.S3Store(
            self._bucket,
            prefix=prefix.strip("/") or None,
            retry_config={
                "max_retries": retries,
                "retry_timeout": timedelta(seconds=_RETRY_SECONDS),
            },
        )

    @property
    def lance_options(self) -> dict[str, str] | None:
        """The same place and retries in LanceDB's words; it finds the credentials by itself."""
        told = {
            "aws_endpoint": _from_environment(_ENDPOINTS),
            "aws_region": _from_environment(_REGIONS),
            "allow_http": "true" if _allows_http() else "",
            "client_max_retries": str(self._retries),
            "client_retry_timeout": str(_RETRY_SECONDS // _LANCE_ROUNDS),
            "lance_aimd_max_retries": "0",  # else four times as many rounds
        }
        return {key: value for key, value in told.items() if value}

    def table_uri(self, path: str) -> str:
        """The address of the table's folder."""
        return f"{self.uri}/{inside(path)}"

    def walk(self, prefix: str = "") -> Iterator[StoredFile]:
        """Every object below `prefix`; a thousand for a request."""
        with self._told(prefix):
            for page in self._obstore.list(self._store, prefix or None, chunk_size=1000):
                for one in page:
                    yield StoredFile(one["path"], one["size"], one["last_modified"].timestamp())

    def files(self, prefix: str = "") -> list[StoredFile]:
        """Every object below `prefix`, in path order."""
        return sorted(self.walk(prefix), key=lambda file: file.path)

    def exists(self, path: str) -> bool:
        """Is there an object at `path`?"""
        try:
            self._size(path)
        except NotFound:
            return False
        return True

    def read(self, path: str) -> bytes:
        """NotFound where there is none."""
        with self.stream(path) as stream:
            return stream.read()

    @contextmanager
    def stream(self, path: str) -> Iterator[io.BufferedIOBase]:
        """NotFound where there is none. Holds two parts of the object in memory at a time."""
        with self._told(path):
            first, meta = self._first_part(path)
        small = meta["size"] <= len(first)
        with io.BytesIO(first) if small else self._parts(path, first, meta) as stream:
            yield stream

    def put(self, path: str, content: bytes) -> None:
        """Large contents go up in parts; the object appears when all of them are there."""
        with self._told(path):
            self._obstore.put(
                self._store, path, content, chunk_size=PART_BYTES, max_concurrency=_UPLOADS
            )

    def create(self, path: str, content: bytes) -> bool:
        """A PUT on the condition that there is no such object.

        A first attempt may succeed unheard, and its retry finds what it wrote itself; so every
        object carries the name of the call that wrote it.
        """
        writer = uuid.uuid4().hex
        with self._told(path):
            try:
                self._obstore.put(
                    self._store,
                    path,
                    content,
                    mode="create",
                    use_multipart=False,
                    attributes={_WRITER: writer},
                )
            except self._obstore.exceptions.AlreadyExistsError:
                there = self._obstore.get(self._store, path, options={"head": True})
                return bool(there.attributes.get(_WRITER) == writer)
        return True

    def settle(self, path: str) -> None:
        """Durable already; StorageError if the listing does not show what is there."""
        listed = self.files(path)
        if not listed:
            raise StorageError(f"{self.uri} does not list what was just written to {path}")
        for file in listed:
            if (size := self._size(file.path)) != file.size:
                raise StorageError(
                    f"{self.uri} lists {file.path} with {file.size} bytes, but it has {size}",
                    hint="a store needs a bucket whose listing is up to date",
                )

    def delete(self, paths: Iterable[str]) -> None:
        """Up to 1,000 in one request."""
        doomed = [inside(path) for path in paths]
        if doomed:
            with self._told(doomed[0]):
                self._obstore.delete(self._store, doomed)

    def move(self, path: str, to: str) -> None:
        """Copy, then delete: after a crash in between there are two."""
        with self._told(path):
            self._obstore.rename(self._store, path, inside(to))

    def probe(self) -> None:
        """Create one object twice; the second must be refused."""
        path = f"tmp/probe-{uuid.uuid4().hex}"
        try:
            if not self.create(path, b"1") or self.create(path, b"2"):
                raise StorageError(
                    f"{self.uri}: this bucket does not honour put-if-absent (If-None-Match), "
                    "so two writers could destroy each other's work",
                    hint="use a bucket of S3, MinIO or another server that does",
                )
        finally:
            self.delete([path])

    def _size(self, path: str) -> int:
        with self._told(path):
            return int(self._obstore.head(self._store, path)["size"])

    def _first_part(self, path: str) -> tuple[bytes, Any]:
        try:
            found = self._obstore.get(self._store, path, options={"range": (0, PART_BYTES)})
        except self._obstore.exceptions.GenericError as error:
            if _answer(error)[1] != "416":
                raise
            found = self._obstore.get(self._store, path)  # empty: it has no such range
        return bytes(found.bytes()), found.meta

    def _parts(self, path: str, first: bytes, meta: Any) -> io.BufferedReader:
        def part(start: int, length: int) -> Any:
            if start + length <= len(first):
                return first[start : start + length]
            unchanged = {"range": (start, start + length), "if_match": meta["e_tag"]}
            with self._told(path):
                return self._obstore.get(self._store, path, options=unchanged).bytes()

        return io.BufferedReader(_Parts(part, meta["size"]), PART_BYTES)

    @contextmanager
    def _told(self, path: str) -> Iterator[None]:
        """No path leads out of the prefix; errors of the bucket as ours."""
        if path:
            inside(path)
        try:
            yield
        except (
            self._obstore.exceptions.BaseError,
            FileNotFoundError,
            NotImplementedError,
        ) as error:
            raise self._explained(error, path) from error

    def _explained(self, error: Exception, path: str) -> InfluenceStoreError:
        """What the bucket said, without its text: that may repeat who asked, and how."""
        code, status = _answer(error)
        if code == "NoSuchBucket":
            return NotFound(
                f"there is no bucket {self._bucket}",
                hint="create it, or check $AWS_REGION and $AWS_ENDPOINT_URL",
            )
        if isinstance(error, FileNotFoundError):
            return NotFound(f"there is no file {path} in the store")
        if "/latest/api/token" in str(error):  # the last resort: the role of a cloud machine
            return Forbidden(
                f"{self.uri}: there are no credentials",
                hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            )
        if status in {"401", "403"} or code == "AccessDenied":
            return Forbidden(
                f"{self.uri} refuses access to {path or 'its list of files'} ({code or status})",
                hint="check the credentials in the environment, and what they are allowed to do",
            )
        told = f"S3 answered {status} {code}".rstrip() if status else _reason(error)
        return Unreachable(
            f"{self.uri}, {path or 'list of files'}: {told}",
            hint="when it answers again, run the command again; nothing half written is ever read",
        )


class _Parts(io.RawIOBase):
    """An object of `size` bytes, read by `part(start, length)`."""

    def __init__(self, part: Any, size: int) -> None:
        self._part, self._size, self._position = part, size, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), PART_BYTES, self._size - self._position)
        if length:
            buffer[:length] = memoryview(self._part(self._position, length))
            self._position += length
        return length

    def readall(self) -> bytes:
        # The inherited one asks for a few kilobytes at a time.
        whole = bytearray(self._size - self._position)
        filled = 0
        while filled < len(whole):
            filled += self.readinto(memoryview(whole)[filled:])
        return bytes(whole)


def _parse(uri: str) -> tuple[str, str]:
    """Bucket, and prefix with a leading slash or nothing. The URI itself is never repeated."""
    if "@" in uri or "?" in uri:
        raise UsageError(
            "the address of a store holds no credentials",
            hint="--store s3://bucket/prefix, with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
            "in the environment",
        )
    found = _URI.fullmatch(uri)
    if found is None or {".", ".."} & set(found["prefix"].split("/")):
        raise UsageError(
            "this is no address of a bucket",
            hint="s3://bucket/prefix; the prefix of letters, digits and . _ - between slashes",
        )
    return found["bucket"], found["prefix"]


def _refuse_plain_http() -> None:
    if _from_environment(_ENDPOINTS).startswith("http://") and not _allows_http():
        raise UsageError(
            "AWS_ENDPOINT_URL is http://, over which anybody can read along",
            hint="use https://, or set AWS_ALLOW_HTTP=true for a server on this machine",
        )


def _allows_http() -> bool:
    return os.environ.get("AWS_ALLOW_HTTP", "").lower() in {"1", "true", "on", "yes", "y"}


def _from_environment(names: tuple[str, ...]) -> str:
    return next((value for name in names if (value := os.environ.get(name))), "")


def _answer(error: Exception) -> tuple[str, str]:
    """S3's own error code and the HTTP status, as far as there was an answer."""
    code = re.search(r"(?:<Code>|\(code: )\"?(\w+)", str(error))
    status = re.search(r"status code: (\d{3})", str(error))
    return code[1] if code else "", status[1] if status else ""


def _reason(error: Exception) -> str:
    return redact(str(error).partition("\n")[0].rpartition(" - ")[2])[:200]
