"""Images that are decoded once for several views."""

import struct

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ovocr.trainer.data.images import decode_for_views, load_image, load_view
from ovocr.views.view import Crop, letterboxed_view, whole_view


def mosaic(width: int, height: int) -> NDArray[np.uint8]:
    colours = np.random.default_rng(0).integers(0, 256, (-(-height // 16), -(-width // 16), 3), np.uint8)
    return np.kron(colours, np.ones((16, 16, 1), np.uint8))[:height, :width]


def encoded(image: NDArray[np.uint8], ending: str, orientation: int = 1) -> bytes:
    """Encodes an image; a JPEG with the EXIF orientation."""
    data = cv2.imencode(ending, image)[1].tobytes()
    if orientation == 1:
        return data
    entries = struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + entries
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


@pytest.mark.parametrize("ending", [".jpg", ".png"])
@pytest.mark.parametrize("side", [64, 300, 1000])
def test_views_are_those_of_an_image_decoded_for_each(ending: str, side: int) -> None:
    data = encoded(mosaic(1001, 803), ending)
    decoded = decode_for_views(data, 64 / side)
    assert (decoded.width, decoded.height) == (1001, 803)
    assert (decoded.bgr.shape[1] < 1001) == (ending == ".jpg" and side > 64)
    for left, top in ((0, 0), (1, 0), (1001 - side, max(0, 803 - side))):
        view = letterboxed_view(Crop(left, top, left + side, min(803, top + side)), 64)
        assert np.array_equal(decoded.show(view, 64), load_view(data, view, 64))


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_rotated_image_has_its_upright_size(scale: float) -> None:
    data = encoded(mosaic(160, 480), ".jpg", orientation=6)  # to be rotated by a quarter
    decoded = decode_for_views(data, scale)
    assert (decoded.width, decoded.height) == (480, 160)
    assert np.array_equal(
        decode_for_views(data, 32 / 480).show(whole_view(480, 160, 32), 32),
        load_image(data, 32),
    )
    upright = np.rot90(mosaic(160, 480), -1)
    expected = load_view(encoded(upright, ".png"), letterboxed_view(Crop(320, 0, 480, 160), 16), 16)
    shown = decoded.show(letterboxed_view(Crop(320, 0, 480, 160), 16), 16)
    assert np.abs(shown.astype(int) - expected).mean() < 8
