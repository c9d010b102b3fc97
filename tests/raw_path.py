"""The bytes of a store as paths, behind the back of the code under test, wherever they lie."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from s3_server import age_object, s3_client

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    RawPath = Path | "ObjectPath"


def raw_path(uri: str | Path, told: Mapping[str, str] = os.environ) -> RawPath:
    """The root of the store at `uri`; `told` leads to the server of a bucket."""
    if not str(uri).startswith("s3://"):
        return Path(uri)
    bucket, _, key = str(uri).removeprefix("s3://").partition("/")
    return ObjectPath(s3_client(told), bucket, PurePosixPath(key))


def sizes(root: RawPath) -> dict[str, int]:
    """Bytes of every file below `root`, by its path from there."""
    if isinstance(root, ObjectPath):
        return {path: one["Size"] for path, one in root.objects().items()}
    found = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.stat().st_size for path in found}


def checksums(root: RawPath) -> dict[str, str]:
    """What changes with any byte of a file, by its path from `root`."""
    if isinstance(root, ObjectPath):
        return {path: one["ETag"] for path, one in root.objects().items()}
    return {path: sha256((root / path).read_bytes()).hexdigest() for path in sizes(root)}


def age(path: RawPath, seconds: float) -> None:
    """As if the file had been written so long ago."""
    then = time.time() - seconds
    if isinstance(path, Path):
        os.utime(path, (then, then))
    else:
        age_object(path.bucket, str(path.key), then)


@dataclass(frozen=True)
class ObjectPath:
    """An object of a bucket, or a folder of them, that answers as a pathlib.Path does.

    Folders are there as long as something lies in them.
    """

    client: Any
    bucket: str
    key: PurePosixPath

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def __truediv__(self, more: str | PurePosixPath) -> ObjectPath:
        return ObjectPath(self.client, self.bucket, self.key / more)

    @property
    def parent(self) -> ObjectPath:
        return ObjectPath(self.client, self.bucket, self.key.parent)

    @property
    def name(self) -> str:
        return self.key.name

    def relative_to(self, root: ObjectPath) -> PurePosixPath:
        return self.key.relative_to(root.key)

    def read_bytes(self) -> bytes:
        return self.client.get_object(**self._this)["Body"].read()

    def read_text(self) -> str:
        return self.read_bytes().decode()

    def write_bytes(self, content: bytes) -> None:
        self.client.put_object(**self._this, Body=content)

    def write_text(self, content: str) -> None:
        self.write_bytes(content.encode())

    def unlink(self, missing_ok: bool = True) -> None:
        self.client.delete_object(**self._this)

    def mkdir(self, parents: bool = True, exist_ok: bool = True) -> None:
        """Nothing is to be done."""

    def is_file(self) -> bool:
        return str(self.key) in self._listed(str(self.key))

    def is_dir(self) -> bool:
        return bool(self.objects())

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def stat(self) -> SimpleNamespace:
        return SimpleNamespace(st_size=self.client.head_object(**self._this)["ContentLength"])

    def rglob(self, pattern: str) -> Iterator[ObjectPath]:
        """Objects only: there are no folders."""
        return (self / path for path in self.objects() if PurePosixPath(path).match(pattern))

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """Among what `iterdir` yields."""
        return (path for path in self.iterdir() if path.key.match(pattern))

    def iterdir(self) -> Iterator[ObjectPath]:
        """Objects and folders directly below."""
        names = {path.partition("/")[0] for path in self.objects()}
        return (self / name for name in sorted(names))

    def objects(self) -> dict[str, dict[str, Any]]:
        """What the listing says of every object below, by its path from here."""
        found = self._listed(f"{self.key}/")
        return {key.removeprefix(f"{self.key}/"): one for key, one in found.items()}

    @property
    def _this(self) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": str(self.key)}

    def _listed(self, prefix: str) -> dict[str, dict[str, Any]]:
        """A thousand in one request."""
        pages = self.client.get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.bucket, Prefix=prefix)
        return {one["Key"]: one for page in found for one in page.get("Contents", ())}
