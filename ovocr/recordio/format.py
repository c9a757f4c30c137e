"""The encoding of a record.

Sources: dmlc-core ``include/dmlc/recordio.h`` and ``src/recordio.cc`` (records and their parts), mxnet 1.9.1
    ``python/mxnet/recordio.py`` (the header and the labels inside a record).
"""

import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ovocr.base.errors import OvocrError

MAX_CLASS_ID = 2**24  # labels are float32, which is exact for integers up to this
MAX_RECORD_ID = 2**64 - 1
MAX_PAYLOAD_BYTES = 2**29 - 1  # the length field has 29 bits

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack("<I", MAGIC)
PART = struct.Struct("<II")  # before each part: magic; continuation flag (3 bits) and length (29 bits)
WHOLE, FIRST, MIDDLE, LAST = range(4)  # continuation flags
HEADER = struct.Struct("<IfQQ")  # start of the payload: flag (number of labels), label, id, id2
PART_AND_HEADER = struct.Struct("<IIIfQQ")
FLOAT32 = np.dtype("<f4")
UINT32 = np.dtype("<u4")


class RecordError(OvocrError):
    """A record cannot be written, or a .rec or .idx cannot be read. The message names the file and the byte or line."""


class Record(NamedTuple):
    """An image with its labels: ``labels`` is float32 [T], writable; ``image`` is the encoded file (may be empty)."""

    id: int
    labels: npt.NDArray[np.float32]
    image: bytes


def shard_paths(prefix: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Returns PREFIX.rec and PREFIX.idx; a dot in the prefix is kept."""
    text = os.fspath(prefix)
    return Path(f"{text}.rec"), Path(f"{text}.idx")


def padded(length: int) -> int:
    """Rounds up to a multiple of 4 bytes: parts are padded with zeros."""
    return (length + 3) & ~3


def decode_labels(data: bytes, label: float) -> npt.NDArray[np.float32]:
    """Returns the labels after a header, or the header's single label if there are none; a writable copy."""
    # A bytearray is writable, as torch.from_numpy demands, and a copy into it is faster than one by NumPy.
    return np.frombuffer(bytearray(data or struct.pack("<f", label)), FLOAT32)


def image_sizes(bounds: npt.NDArray[np.int64], labels: int) -> npt.NDArray[np.int64]:
    """Returns the size of each image of a shard in bytes, rounded up to a multiple of 4: int64 [N]. Reads no record.

    bounds: int64 [N + 1], offset of each record in the order of the file, then the size of the .rec. labels: number of
    labels of each record. An image that contains the magic at an aligned offset is stored in parts and counts some
    bytes more, as many in each copy.
    """
    return np.diff(bounds) - PART_AND_HEADER.size - FLOAT32.itemsize * labels


def encode_record(id: int, labels: npt.ArrayLike, image: bytes) -> list[bytes]:
    """Returns the bytes of a record in pieces, which avoids copying the image.

    Raises RecordError, without naming the record, if a label is not a class id or the record has 2**29 bytes or more.
    """
    array = np.asarray(labels)
    _check_labels(array)
    if array.ndim == 0:
        head = HEADER.pack(0, float(array), id, 0)
    else:
        head = HEADER.pack(len(array), 0.0, id, 0) + array.astype(FLOAT32).tobytes()
    size = len(head) + len(image)
    if size > MAX_PAYLOAD_BYTES:
        raise RecordError(f"{size} bytes with header and labels; a record must be smaller than 2**29 bytes")
    # Comparing words finds the magic at aligned offsets only, in a tenth of the time of bytes.find.
    words = np.frombuffer(image, UINT32, len(image) // 4)
    if np.count_nonzero(words == MAGIC) or MAGIC_BYTES in head:
        return _split(head + image)
    pieces = [PART.pack(MAGIC, size) + head]
    if image:
        pieces.append(image)
    if size % 4:
        pieces.append(bytes(-size % 4))
    return pieces


def _split(payload: bytes) -> list[bytes]:
    """Splits a record where the magic is at an aligned offset, and leaves the magic out (dmlc's WriteRecord)."""
    words = np.frombuffer(payload, UINT32, len(payload) // 4)
    cuts = (np.flatnonzero(words == MAGIC) * 4).tolist()
    starts = [0, *(cut + len(MAGIC_BYTES) for cut in cuts)]
    ends = [*cuts, len(payload)]
    kinds = [FIRST, *[MIDDLE] * (len(cuts) - 1), LAST] if cuts else [WHOLE]
    parts = [
        PART.pack(MAGIC, (kind << 29) | (end - start)) + payload[start:end]
        for kind, start, end in zip(kinds, starts, ends, strict=True)
    ]
    return [b"".join(parts) + bytes(-len(payload) % 4)]


def _check_labels(labels: npt.NDArray[Any]) -> None:
    """Raises RecordError unless all labels are integers that float32 represents exactly."""
    if labels.ndim > 1 or labels.size == 0:
        raise RecordError(
            f"labels must be one number or a one-dimensional array with at least one, not shape {list(labels.shape)}"
        )
    if labels.dtype.kind not in "iuf":
        raise RecordError(f"labels must be integers or floats of at most 64 bits, not {labels.dtype}")
    values = labels.astype(np.float64).reshape(-1)  # larger integers stay above 2**24; NaN is out of range
    is_class_id = (values >= 0) & (values <= MAX_CLASS_ID) & (values == np.floor(values))
    if np.count_nonzero(is_class_id) < len(values):
        first = int(np.argmin(is_class_id))
        value = labels.reshape(-1)[first]
        raise RecordError(f"label {first} is {value}, not a class id: an integer from 0 to {MAX_CLASS_ID}")
