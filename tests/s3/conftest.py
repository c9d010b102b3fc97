"""An S3 server behind a proxy that fails on demand, and the places that a store can lie in."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# The processes of other machines are forks of the warm parent that the reliability suite keeps.
sys.path.append(str(Path(__file__).parents[1] / "reliability"))

from fault_proxy import FaultProxy, proxy_to
from s3_server import BUCKET, environment, s3_server

from influence_store.store.local import LocalStorage

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def proxy() -> Iterator[FaultProxy]:
    """The server, behind a proxy that does no harm until a test asks for it."""
    with s3_server() as endpoint, proxy_to(endpoint) as running:
        yield running


@pytest.fixture
def s3(proxy, monkeypatch) -> FaultProxy:
    """The proxy, and the environment that leads to it."""
    for name, value in environment(proxy.endpoint).items():
        monkeypatch.setenv(name, value)
    proxy.requests.clear()
    return proxy


@pytest.fixture
def place(s3) -> str:
    """The address of a store that does not exist yet."""
    return f"s3://{BUCKET}/team/{uuid.uuid4().hex}"


@pytest.fixture
def objects(place):
    """The same, open; gives up soon."""
    from influence_store.store.objects import ObjectStorage

    return ObjectStorage(place, retries=2)


@pytest.fixture(params=["local", "s3"])
def storage(request, tmp_path):
    """Each place that a store can lie in."""
    if request.param == "local":
        return LocalStorage(tmp_path / "store")
    return request.getfixturevalue("objects")
