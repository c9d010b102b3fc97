"""Where can a tested store live? Fresh stores, copies and raw bytes on every backend of the suite.

sqlite: a folder. postgres: a folder with its catalog in a PostgreSQL from PyPI. s3: objects on a
moto server of this machine, catalog in that PostgreSQL. Raw bytes are reached without the code
under test, so that a test can damage them and see what is really there.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import backend
from s3_server import BUCKET, environment, s3_server

from influence_store.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOL_VERSION = "test"


@dataclass(frozen=True)
class Place:
    """One store. Plain values, so that it can be handed to another process."""

    backend: str
    uri: str
    database: str | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def init(self) -> None:
        """Make the store."""
        with self.surroundings():
            made, _ = Store.init(self.uri, TOOL_VERSION, self.database)
            made.database.close()

    @contextmanager
    def opened(self) -> Iterator[Store]:
        """The store, closed at the end."""
        with self.surroundings():
            store = Store.open(self.uri, TOOL_VERSION)
            try:
                yield store
            finally:
                store.database.close()

    @property
    def arguments(self) -> list[str]:
        """What the command line must be told, before the verb."""
        return ["--store", self.uri]

    @contextmanager
    def surroundings(self) -> Iterator[None]:
        """The environment in which the store can be reached."""
        before = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    @property
    def raw(self) -> RawFiles:
        """The bytes themselves, behind the back of the code under test."""
        return S3Files(self) if self.uri.startswith("s3://") else FolderFiles(Path(self.uri))


class RawFiles(Protocol):
    """Files by their path below the root of the store."""

    def sizes(self) -> dict[str, int]: ...

    def read(self, path: str) -> bytes: ...

    def write(self, path: str, content: bytes) -> None: ...

    def delete(self, path: str) -> None: ...


@dataclass(frozen=True)
class FolderFiles:
    root: Path

    def sizes(self) -> dict[str, int]:
        found = (path for path in self.root.rglob("*") if path.is_file())
        return {path.relative_to(self.root).as_posix(): path.stat().st_size for path in found}

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def write(self, path: str, content: bytes) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(content)

    def delete(self, path: str) -> None:
        (self.root / path).unlink()


class S3Files:
    def __init__(self, place: Place) -> None:
        self._prefix = place.uri.removeprefix(f"s3://{BUCKET}/") + "/"
        self._client = s3_client(place.environment)

    def sizes(self) -> dict[str, int]:
        pages = self._client.get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=BUCKET, Prefix=self._prefix)
        objects = (one for page in found for one in page.get("Contents", ()))
        return {one["Key"].removeprefix(self._prefix): one["Size"] for one in objects}

    def read(self, path: str) -> bytes:
        return self._client.get_object(Bucket=BUCKET, Key=self._prefix + path)["Body"].read()

    def write(self, path: str, content: bytes) -> None:
        self._client.put_object(Bucket=BUCKET, Key=self._prefix + path, Body=content)

    def delete(self, path: str) -> None:
        self._client.delete_object(Bucket=BUCKET, Key=self._prefix + path)


def s3_client(told: dict[str, str]) -> Any:
    """boto3 against the server that the environment `told` leads to."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=told["AWS_ENDPOINT_URL"],
        region_name=told["AWS_REGION"],
        aws_access_key_id=told["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=told["AWS_SECRET_ACCESS_KEY"],
    )


class S3(backend.Postgres):
    """Objects of a bucket for the blocks, a database of one server for each catalog."""

    name = "s3"

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.environment = environment(self._stack.enter_context(s3_server()))

    def new(self, path: Path) -> tuple[str, str]:
        """The last part of the path is the store's prefix in the bucket."""
        _, database = super().new(path)
        return f"s3://{BUCKET}/{path.name}", database

    def copy(self, uri: str, database: str | None, path: Path) -> tuple[str, str]:
        """Object by object; the marker names the copy of the catalog."""
        assert database is not None
        name = "t" + uuid.uuid4().hex
        self.server.copy(database.rpartition("?")[0].rpartition("/")[2], name)
        source = Place(self.name, uri, database, self.environment).raw
        copy = Place(self.name, f"s3://{BUCKET}/{path.name}", None, self.environment)
        for file in source.sizes():
            copy.raw.write(file, source.read(file))
        marker = {**json.loads(source.read("store.json")), "database": self.server.url(name)}
        copy.raw.write("store.json", json.dumps(marker).encode())
        return copy.uri, self.server.url(name)

    def close(self) -> None:
        """End both servers."""
        self._stack.close()
        super().close()


KINDS: dict[str, Any] = {"sqlite": backend.Sqlite, "postgres": backend.Postgres, "s3": S3}


class Places:
    """Makes, copies and drops stores of one backend."""

    def __init__(self, made: backend.Backend, folder: Path) -> None:
        self.name = made.name
        self._backend, self._folder = made, folder

    def fresh(self) -> Place:
        """A new store."""
        place = self._place(*self._backend.new(self._path()))
        place.init()
        return place

    def copy(self, place: Place) -> Place:
        """A copy of a store that nobody uses now."""
        return self._place(*self._backend.copy(place.uri, place.database, self._path()))

    def drop(self, place: Place) -> None:
        """Free what it took; must not be in use."""
        if place.uri.startswith("s3://"):
            for path in place.raw.sizes():
                place.raw.delete(path)
        else:
            shutil.rmtree(place.uri)
        if place.database is not None and isinstance(self._backend, backend.Postgres):
            name = place.database.rpartition("?")[0].rpartition("/")[2]
            self._backend.server.sql(f"drop database {name} with (force)")

    def _path(self) -> Path:
        return self._folder / f"s{uuid.uuid4().hex[:12]}"

    def _place(self, uri: str, database: str | None) -> Place:
        return Place(self.name, uri, database, self._backend.environment)
