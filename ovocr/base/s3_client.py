"""Settings of s3fs, the fsspec file system of S3: who repeats requests, who counts that, and limits of uploads.

s3fs repeats the requests of botocore, which repeats them, too: 25 requests for one, and 125 for an object that
breaks off. Here, botocore alone repeats single requests, and ``attempts`` whole objects.
"""

import logging
import socket
from contextlib import suppress
from typing import Any

from ovocr.base.request_count import count_repeated

# A connection whose other end takes no more data of an upload is closed after this time. botocore has limits for the
# time until an answer, not for that.
_STALLED_MS = 30_000
# Objects over twice this size are uploaded in parts, of which 10 are in memory at a time. s3fs's default is 50 MiB.
_PART_BYTES = 16 * 2**20


def is_s3(scheme: str) -> bool:
    """Returns True if s3fs opens URLs with this scheme."""
    return scheme in ("s3", "s3a")


def connection_options() -> dict[str, Any]:
    """Returns options for a new S3FileSystem. Raises ImportError if s3fs is not installed."""
    from aiobotocore.config import AioConfig
    from botocore.exceptions import ParamValidationError
    from fsspec.config import conf

    own: dict[str, Any] = conf.get("s3", {}).get("config_kwargs", {})
    connector = {"socket_factory": _make_socket, **own.get("connector_args", {})}
    with suppress(ParamValidationError):  # older releases of aiobotocore have no such option
        AioConfig(connector_args=connector)
        return {"config_kwargs": {**own, "connector_args": connector}}
    return {}


def prepare(system: Any) -> None:
    """Makes botocore alone repeat requests, and counts these. system: an S3FileSystem."""
    logging.getLogger("asyncio").addFilter(_is_news)
    system.retries = 1
    system.s3.meta.events.register("request-created.s3", _count, unique_id="ovocr-repeated")


def upload_options(system: Any) -> dict[str, Any]:
    """Returns options of ``put_file`` for a file system of fsspec."""
    return {"chunksize": _PART_BYTES} if is_s3(_scheme(system)) else {}


def abort_uploads(system: Any, folder: str, paths: set[str]) -> None:
    """Removes the parts of unfinished uploads of these objects, also those of other processes. Raises OSError.

    folder: a folder that contains them. Does nothing for a file system that is not S3.
    """
    if not is_s3(_scheme(system)):
        return
    bucket, prefix, _ = system.split_path(f"{folder}/")
    found = system.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix)
    for upload in found.get("Uploads", []):
        if f"{bucket}/{upload['Key']}" in paths:
            with suppress(FileNotFoundError):  # it has ended meanwhile
                system.abort_mpu(bucket, upload["Key"], upload["UploadId"])


def _scheme(system: Any) -> str:
    protocol = system.protocol
    return protocol if isinstance(protocol, str) else str(protocol[0])


def _count(request: Any, **_: Any) -> None:
    # aiohttp opens a new connection if one that it kept open turns out to be closed. That is not counted.
    if request.context.get("retries", {}).get("attempt", 1) > 1:
        count_repeated()


def _is_news(record: logging.LogRecord) -> bool:
    """Returns False for the error of a connection that asyncio logs, too: it was raised where the request was sent."""
    from aiohttp import ClientError

    return not (record.exc_info and isinstance(record.exc_info[1], ClientError))


def _make_socket(address: Any) -> socket.socket:
    """Makes a socket for a connection. address: a tuple of socket.getaddrinfo."""
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALLED_MS)
    return made
