"""A proxy in front of an S3 endpoint that answers late and fails now and then, for tests and benchmarks.

    python benchmarks/slow_store.py ENDPOINT [--port 9000] [--latency 0.05] [--failures 0.05] [--seed 0]

Each request waits for the latency, and then fails with the given probability in one of three ways: status 500, status
503, or a connection that is cut in the middle of the body. Failures follow from the seed and the number of the request.
A proxy that is ``down`` closes each connection without an answer. ``requests`` lists all requests. ``rule`` chooses how
single requests fail; FAILURES lists the ways.
"""

import argparse
import contextlib
import http.client
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit

# Connection headers belong to one of the two connections.
_OWN_HEADERS = {"connection", "transfer-encoding", "keep-alive"}
# Ways to fail, before the store sees the request except for "cut", "lost" and "late".
FAILURES = {
    "500": "an internal error",
    "503": "too many requests",
    "403": "access denied",
    "down": "the connection is closed without an answer",
    "cut": "the connection is closed in the middle of the answer's body",
    "cut-upload": "the connection is reset in the middle of the request's body",
    "lost": "the store does what it was asked, and then the connection is closed without an answer",
    "late": "the request is received, and passed on when `release` is called",
    "silent": "the request is received, and there is no answer until `release` is called",
    "stalled": "half of the request's body is received, and then nothing until `release` is called",
}
_CODES = {"500": "InternalError", "503": "ServiceUnavailable", "403": "AccessDenied"}
_DRAWN = ("500", "503", "cut")


class Request(NamedTuple):
    """A request. range: its range of bytes, as "0-99", or empty. failure: how the proxy let it fail, or empty.

    bytes: number of bytes of the body that were sent.
    """

    method: str
    path: str
    range: str
    failure: str
    bytes: int


class SlowStore(ThreadingHTTPServer):
    """The proxy. endpoint: URL of the store. latency: seconds. failures: share of the requests that fail.

    first_byte: seconds between the end of a request and the start of the answer.
    upload_rate: bytes per second of a request's body that are received over each connection; 0 for no limit.
    rule: maps method and path, with query, of a request to a name in FAILURES; to "" for chance to decide.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, endpoint: str, *, port: int = 0, latency: float = 0.0, failures: float = 0.0, seed: int = 0
    ) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.target = urlsplit(endpoint)
        self.latency, self.failures, self.down = latency, failures, False
        self.first_byte, self.upload_rate = 0.0, 0.0
        self.rule: Callable[[str, str], str] = lambda method, path: ""
        self.requests: list[Request] = []
        self.begun: list[tuple[str, str]] = []  # method and path of each request whose body is being received
        self.released = threading.Event()
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The endpoint that clients use."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def choose_failure(self, method: str, path: str) -> str:
        """Returns how the next request fails; empty if it does not."""
        with self._lock:
            fails, kind = self._random.random() < self.failures, self._random.choice(_DRAWN)
            return "down" if self.down else self.rule(method, path) or (kind if fails else "")

    def add(self, request: Request) -> None:
        """Adds a request to the list."""
        with self._lock:
            self.requests.append(request)

    def failed(self) -> list[Request]:
        """Returns the requests that failed."""
        with self._lock:
            return [each for each in self.requests if each.failure]

    def release(self) -> None:
        """Closes the connections that are silent or stalled, and passes late requests on."""
        self.released.set()

    def reads(self, suffix: str = ".rec") -> list[tuple[str, str]]:
        """Returns path and range of each successful request for a file with this suffix."""
        with self._lock:
            found = [each for each in self.requests if each.method == "GET" and each.path.endswith(suffix)]
        return [(each.path, each.range) for each in found if not each.failure]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores clients that have gone."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SlowStore

    def handle_one_request(self) -> None:
        if self.server.down:
            self.close_connection = True
            return
        super().handle_one_request()

    def _forward(self) -> None:
        server = self.server
        length = int(self.headers.get("Content-Length") or 0)
        server.begun.append((self.command, self.path))
        failure = server.choose_failure(self.command, self.path)
        body = self._receive(length // 2 if failure in ("cut-upload", "stalled") else length)
        time.sleep(server.latency)
        if server.down:
            failure = "down"
        if failure in ("late", "silent", "stalled"):
            server.released.wait()
        if failure in ("down", "cut-upload", "silent", "stalled"):
            self._close(failure, 0)
        elif failure in _CODES:
            self._refuse(failure)
        else:
            self._answer(body, failure)

    def _receive(self, length: int) -> bytes:
        """Returns the first bytes of the request's body. Receives them no faster than the limit."""
        parts, left, start, rate = [], length, time.monotonic(), self.server.upload_rate
        while left and (part := self.rfile.read(min(left, int(rate / 20) or left))):
            parts.append(part)
            left -= len(part)
            if rate and left:
                time.sleep(max(0.0, start + (length - left) / rate - time.monotonic()))
        return b"".join(parts)

    def _answer(self, body: bytes, failure: str) -> None:
        """Asks the store, and passes its answer on as far as the failure allows."""
        server = self.server
        connection = http.client.HTTPConnection(server.target.hostname or "", server.target.port or 80, timeout=60)
        with contextlib.closing(connection):
            connection.request(self.command, self.path, body or None, dict(self.headers))
            answer = connection.getresponse()
            data = answer.read()
        if failure == "lost":
            self._close(failure, 0)
            return
        time.sleep(server.first_byte)
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _OWN_HEADERS | {"content-length"}:
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else len(data)
        self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        if failure == "cut" and len(data) > 1:
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self._close(failure, len(data) // 2)
            return
        self.wfile.write(data)
        self._add("", len(data))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward

    def _refuse(self, status: str) -> None:
        text = f"<Error><Code>{_CODES[status]}</Code><Message>{FAILURES[status]}</Message></Error>".encode()
        self.send_response(int(status))
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)
        self._add(status, 0)

    def _close(self, failure: str, size: int) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):  # the client has closed it already
            self.connection.shutdown(socket.SHUT_RDWR)
        self._add(failure, size)

    def _add(self, failure: str, size: int) -> None:
        path = urlsplit(self.path).path
        wanted = self.headers.get("Range", "").removeprefix("bytes=")
        self.server.add(Request(self.command, path, wanted, failure, size))

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def slow_store(endpoint: str, **options: Any) -> Iterator[SlowStore]:
    """Runs a proxy in a thread during the block."""
    with SlowStore(endpoint, **options) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.release()
            server.shutdown()
            thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("endpoint")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds")
    parser.add_argument("--failures", type=float, default=0.05, help="share of the requests")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    arguments = {name: value for name, value in vars(options).items() if name != "endpoint"}
    with SlowStore(options.endpoint, **arguments) as server:
        print(server.url, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
