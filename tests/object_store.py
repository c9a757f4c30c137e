"""An S3 endpoint on the loopback interface, by moto, and a proxy in front of it whose requests fail or wait."""

import http.client
import itertools
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest


class Bucket:
    """A bucket of the endpoint. Uses boto3, which the package does not use."""

    def __init__(self, endpoint: str, name: str) -> None:
        import boto3

        self.url = f"s3://{name}"
        self.endpoint = endpoint
        self._name = name
        self._client: Any = boto3.client("s3", endpoint_url=endpoint)
        self._client.create_bucket(Bucket=name)

    def put(self, key: str, data: bytes) -> str:
        """Writes an object and returns its URL."""
        self._client.put_object(Bucket=self._name, Key=key, Body=data)
        return f"{self.url}/{key}"

    def get(self, key: str) -> bytes:
        return self._client.get_object(Bucket=self._name, Key=key)["Body"].read()

    def upload(self, folder: Path, prefix: str) -> str:
        """Copies a folder and returns its URL."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        return f"{self.url}/{prefix}"

    def remove(self, key: str) -> None:
        self._client.delete_object(Bucket=self._name, Key=key)

    def names(self, prefix: str = "") -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def version(self, key: str) -> Any:
        """Returns the time of the last write to the object."""
        return self._client.head_object(Bucket=self._name, Key=key)["LastModified"]


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
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    import fsspec

    fsspec.get_filesystem_class("s3").clear_instance_cache()
    number = request.session.stash.setdefault(_COUNT, 0) + 1
    request.session.stash[_COUNT] = number
    return Bucket(endpoint, f"bucket-{number}")


class Proxy(ThreadingHTTPServer):
    """Forwards requests to an endpoint.

    fails_every: answer every n-th request with 500 or 503 instead, in turn; 0 for none. delay_s: wait before each.
    """

    def __init__(self, endpoint: str, fails_every: int = 0, delay_s: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.target = endpoint.removeprefix("http://")
        self.fails_every, self.delay_s = fails_every, delay_s
        self.numbers = itertools.count(1)
        self.failed = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator["Proxy"]:
        thread = threading.Thread(target=self.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            self.server_close()
            thread.join()


class _Forward(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        time.sleep(self.server.delay_s)
        number = next(self.server.numbers)
        if self.server.fails_every and number % self.server.fails_every == 0:
            self.server.failed += 1
            self._answer(500 if self.server.failed % 2 else 503, {}, b"")
            return
        connection = http.client.HTTPConnection(self.server.target)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            response = connection.getresponse()
            self._answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        kept = {
            name: value for name, value in headers.items() if name.lower() not in ("transfer-encoding", "connection")
        }
        if self.command != "HEAD":
            kept = {name: value for name, value in kept.items() if name.lower() != "content-length"}
            kept["Content-Length"] = str(len(body))
        for name, value in kept.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


_COUNT = pytest.StashKey[int]()
