"""An S3 server on this machine, and the environment in which a store on it can be reached."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BUCKET = "stores"
#: Whatever appears of these in a message has leaked.
CANARIES = ("canary-id", "canary-secret", "canary-token")


def environment(endpoint: str) -> dict[str, str]:
    """What a user must export to reach the server at `endpoint`."""
    key, secret, token = CANARIES
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_SESSION_TOKEN": token,
    }


@contextmanager
def s3_server() -> Iterator[str]:
    """The endpoint of a running S3 server with an empty bucket `BUCKET`; no root, no network."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # one line per request otherwise
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    try:
        client = s3_client(environment(endpoint))
        client.create_bucket(Bucket=BUCKET)
        client.close()
        yield endpoint
    finally:
        server.stop()


def s3_client(told: Mapping[str, str]) -> Any:
    """boto3 against the server that the environment `told` leads to; one client per server."""
    return _client(told["AWS_ENDPOINT_URL"], told["AWS_REGION"])


@cache
def _client(endpoint: str, region: str) -> Any:
    import boto3

    key, secret, _ = CANARIES
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )


def age_object(bucket: str, key: str, written: float) -> None:
    """Set when an object was written, in the server itself: S3 has no request for that."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    held = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[bucket].keys[key]
    held.last_modified = datetime.fromtimestamp(written, UTC).replace(tzinfo=None)
