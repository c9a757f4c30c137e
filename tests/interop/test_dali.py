"""NVIDIA DALI's reader on our shards: 100 labels per image, JPEG images, records in several parts."""

import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from ovocr.recordio import RecordReader, RecordWriter

MAGIC = struct.pack("<I", 0xCED7230A)

pytestmark = pytest.mark.interop


def jpeg(noise: np.random.Generator, width: int, height: int, comment: bytes) -> bytes:
    """Returns a JPEG of noise with a comment segment that starts at byte 2."""
    done, encoded = cv2.imencode(".jpg", noise.integers(0, 256, (height, width, 3), dtype=np.uint8))
    assert done
    data: bytes = encoded.tobytes()
    return data[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + data[2:]


def test_dali_reads_labels_and_images(tmp_path: Path, dali_side: Callable[..., None]) -> None:
    noise = np.random.default_rng(1)
    # The comment's text begins at byte 6 of the image: two bytes more and it is at a multiple of 4.
    comments = [b"", b"xy" + MAGIC, b"x" + MAGIC, b"xy" + MAGIC * 3 + b"and more" + MAGIC, b"plain", b""]
    sizes = [(40 + 7 * i, 96 - 5 * i) for i in range(len(comments))]
    images = [jpeg(noise, *size, comment) for size, comment in zip(sizes, comments, strict=True)]
    labels = noise.integers(0, 2**24 + 1, (len(images), 100))
    with RecordWriter(tmp_path / "ours") as writer:
        for i, image in enumerate(images):
            writer.write(i, labels[i], image)
    written = (tmp_path / "ours.rec").read_bytes()
    offsets = RecordReader(tmp_path / "ours").offsets.tolist()
    flags = [struct.unpack_from("<I", written, offset + 4)[0] >> 29 for offset in offsets]
    assert flags == [0, 1, 0, 1, 0, 0], "the second and the fourth record must be in parts"

    dali_side(tmp_path / "ours", tmp_path / "read")
    read = pickle.loads((tmp_path / "read").read_bytes())
    assert [encoded for encoded, _, _ in read] == images
    assert [label for _, label, _ in read] == labels.tolist()
    assert [shape for _, _, shape in read] == [(height, width, 3) for width, height in sizes]
    assert all(
        cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR).shape == shape for encoded, _, shape in read
    )
