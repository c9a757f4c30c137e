"""An S3 endpoint on the loopback interface, by moto, and a proxy in front of it whose requests fail or wait."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.slow_store import SlowStore, slow_store


class Bucket:
    """A bucket of the endpoint. Uses boto3, which the package does not use."""

    def __init__(self, endpoint: str, name: str) -> None:
        import boto3

        self.url = f"s3://{name}"
        self.endpoint = endpoint
        self.name = name
        self._client: Any = boto3.client("s3", endpoint_url=endpoint)
        self._client.create_bucket(Bucket=name)

    def put(self, key: str, data: bytes) -> str:
        """Writes an object and returns its URL."""
        self._client.put_object(Bucket=self.name, Key=key, Body=data)
        return f"{self.url}/{key}"

    def get(self, key: str) -> bytes:
        return self._client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def upload(self, folder: Path, prefix: str) -> str:
        """Copies a folder and returns its URL."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        return f"{self.url}/{prefix}"

    def remove(self, key: str) -> None:
        self._client.delete_object(Bucket=self.name, Key=key)

    def names(self, prefix: str = "") -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def version(self, key: str) -> Any:
        """Returns the time of the last write to the object."""
        return self._client.head_object(Bucket=self.name, Key=key)["LastModified"]

    def begin_upload(self, key: str) -> None:
        """Begins an upload in parts and uploads one, as a killed process leaves it."""
        upload = self._client.create_multipart_upload(Bucket=self.name, Key=key)["UploadId"]
        self._client.upload_part(Bucket=self.name, Key=key, UploadId=upload, PartNumber=1, Body=b"part")

    def unfinished_uploads(self) -> list[str]:
        """Returns the names of objects whose upload in parts has begun."""
        return [upload["Key"] for upload in self._client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])]


def use_endpoint(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Makes this process and those that it starts use an endpoint."""
    import fsspec

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    pytest.importorskip("s3fs", reason="object stores need the s3 extra")
    server_module = pytest.importorskip("moto.server", reason="no S3 endpoint to test against: moto is not installed")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Bucket:
    """Makes an empty bucket for the test. Environment variables name the endpoint for processes of the test."""
    use_endpoint(monkeypatch, endpoint)
    number = request.session.stash.setdefault(_COUNT, 0) + 1
    request.session.stash[_COUNT] = number
    return Bucket(endpoint, f"bucket-{number}")


@pytest.fixture
def proxy(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowStore]:
    """Starts a proxy in front of the endpoint, which this process and those that it starts use."""
    with slow_store(bucket.endpoint) as server:
        use_endpoint(monkeypatch, server.url)
        yield server


_COUNT = pytest.StashKey[int]()
