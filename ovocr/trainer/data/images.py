"""Decodes images and letterboxes them for the backbone, so no text is cut off; never mirrors them."""

import functools
import math
import struct
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ovocr.base.errors import OvocrError
from ovocr.views.view import View, whole_view

# Mean and deviation of CLIP's training images (RGB, values 0 to 1), as the released weights expect.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
# Padding of letterboxed images: the mean colour, which is 0 after normalising.
GROUND_RGB = tuple(round(255 * mean) for mean in CLIP_MEAN)
# Larger images are refused by their header, before memory is allocated for them.
MAX_PIXELS = 200_000_000

_REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
_JPEG_START = b"\xff\xd8\xff"
_PNG_START = b"\x89PNG\r\n\x1a\n"
# Start-of-frame markers of JPEG, which contain the size: C0 to CF without DHT, JPG and DAC (ITU-T T.81, table B.1).
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MARKERS_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})


class DecodeError(OvocrError):
    """The data are not an image, or not an image of a supported format."""


def load_image(data: bytes, size: int) -> NDArray[np.uint8]:
    """Decodes and letterboxes an image: uint8 [3, size, size], RGB. Raises DecodeError."""
    return load_view(data, whole_view(*encoded_size(data), size), size)


def load_view(data: bytes, view: View, size: int) -> NDArray[np.uint8]:
    """Decodes an image and returns a view of it in the middle of a padded square: uint8 [3, size, size], RGB.

    A JPEG is decoded at a reduced scale if that keeps all pixels of the view. Raises DecodeError.
    """
    width, height = encoded_size(data)
    return DecodedImage(_decode_for(data, (width, height), view.scale), width, height).show(view, size)


class DecodedImage(NamedTuple):
    """An image that is decoded once for several views of it.

    bgr: its pixels, perhaps at a reduced scale, uint8 [H, W, 3]. width, height: its size in the pixels of the views.
    """

    bgr: NDArray[np.uint8]
    width: int
    height: int

    def show(self, view: View, size: int) -> NDArray[np.uint8]:
        """Returns a view of the image in the middle of a padded square: uint8 [3, size, size], RGB.

        The view's scale must not be larger than the scale that the image was decoded for.
        """
        across, down = self.bgr.shape[1] / self.width, self.bgr.shape[0] / self.height
        crop = view.crop
        left, top = int(crop.left * across), int(crop.top * down)
        right, bottom = max(left + 1, round(crop.right * across)), max(top + 1, round(crop.bottom * down))
        longest = max(1, min(size, round(crop.longest * view.scale)))
        return letterbox(self.bgr[top:bottom, left:right], size, longest, is_bgr=True)


def decode_for_views(data: bytes, scale: float) -> DecodedImage:
    """Decodes an image for views of at most this scale; a JPEG at a reduced scale if that keeps all their pixels.

    The image is upright: its size is the one after the rotation by its EXIF orientation. Raises DecodeError.
    """
    width, height = encoded_size(data)
    bgr = _decode_for(data, (width, height), scale)
    if (width - height) * (bgr.shape[1] - bgr.shape[0]) < 0:  # OpenCV has rotated it; the header has the size before
        width, height = height, width
    return DecodedImage(bgr, width, height)


def _decode_for(data: bytes, size: tuple[int, int], scale: float) -> NDArray[np.uint8]:
    # The scale may be a rounded quotient; the tolerance keeps an exact size from being rounded up.
    return _decode_bgr(data, size, math.ceil(scale * max(size) - 1e-6))


def decode(data: bytes, *, at_least: int | None = None) -> NDArray[np.uint8]:
    """Decodes a JPEG, PNG or WebP: uint8 [H, W, 3], RGB. Raises DecodeError.

    at_least: minimum length of the longer side in pixels. A JPEG whose longer side is 2, 4 or 8 times as long is
        decoded at that reduced scale, which saves most of the work. None decodes at full scale.
    """
    return np.asarray(cv2.cvtColor(_decode_bgr(data, encoded_size(data), at_least), cv2.COLOR_BGR2RGB), np.uint8)


def _decode_bgr(data: bytes, size: tuple[int, int], at_least: int | None) -> NDArray[np.uint8]:
    width, height = size
    if width * height > MAX_PIXELS:
        raise DecodeError(f"an image of {width} x {height} pixels; the limit is {MAX_PIXELS}")
    mode = cv2.IMREAD_COLOR
    if at_least is not None and data.startswith(_JPEG_START):
        scales = (scale for scale in _REDUCED if max(width, height) >= scale * at_least)
        mode = _REDUCED.get(next(scales, 1), mode)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    except cv2.error as error:
        raise DecodeError(f"a broken image that cannot be decoded: {error.err or error.code}") from error
    if image is None:
        raise DecodeError(f"a broken image: its header says {width} x {height} pixels, but it cannot be decoded")
    return np.asarray(image, np.uint8)


def letterbox(
    image: NDArray[np.uint8], size: int, longest: int | None = None, *, is_bgr: bool = False
) -> NDArray[np.uint8]:
    """Scales [H, W, 3] into the middle of a padded square, keeping the aspect ratio: uint8 [3, size, size], RGB.

    longest: length of the longer side in the square, at most ``size``, in pixels; None for ``size``.
    is_bgr: whether the order of the image's channels is BGR instead of RGB.
    """
    height, width, _ = image.shape
    before, after = max(height, width), size if longest is None else longest
    inner_height, inner_width = (max(1, round(side * after / before)) for side in (height, width))
    interpolation = cv2.INTER_AREA if before > after else cv2.INTER_LINEAR
    scaled = cv2.resize(image, (inner_width, inner_height), interpolation=interpolation)
    top, left = (size - inner_height) // 2, (size - inner_width) // 2
    square = np.empty((3, size, size), np.uint8)
    for channel, (plane, ground) in enumerate(zip(square, GROUND_RGB, strict=True)):
        plane[:] = ground
        # Copying channel by channel is faster than transposing [size, size, 3].
        source = 2 - channel if is_bgr else channel
        plane[top : top + inner_height, left : left + inner_width] = cv2.extractChannel(scaled, source)
    return square


def normalise(pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Scales values of 0 to 255 to zero mean and unit deviation, on the tensor's device.

    pixels: uint8 [B, 3, H, W] or [B, 3, T, H, W]. Returns the same shape in ``dtype``; computed in float32.
    """
    mean, std = _statistics(pixels.device)
    shape = (3, *(1,) * (pixels.ndim - 2))
    return ((pixels.to(torch.float32) - mean.view(shape)) / std.view(shape)).to(dtype)


@functools.cache  # copied to a device once: a copy in each step would make the host wait
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    mean, std = (255 * torch.tensor(values, dtype=torch.float64) for values in (CLIP_MEAN, CLIP_STD))
    return mean.to(device, torch.float32), std.to(device, torch.float32)


def encoded_size(data: bytes) -> tuple[int, int]:
    """Returns width and height from the header of a JPEG, PNG or WebP. Raises DecodeError."""
    try:
        if data.startswith(_JPEG_START):
            size = _jpeg_size(data)
        elif data.startswith(_PNG_START):
            size = struct.unpack_from(">II", data, 16)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            size = _webp_size(data)
        else:
            raise DecodeError("not a JPEG, PNG or WebP image")
    except (struct.error, IndexError) as error:
        raise DecodeError("a broken image: its header is truncated") from error
    if 0 in size:
        raise DecodeError("a broken image: its header says it has no pixels")
    return size


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while True:
        if data[at] != 0xFF:
            raise DecodeError(f"a broken image: no JPEG marker at byte {at}")
        marker = data[at + 1]
        if marker in _FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _MARKERS_ALONE:
            at += 2
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]


def _webp_size(data: bytes) -> tuple[int, int]:
    """Reads the size from a WebP's first chunk: lossy, lossless or extended (RFC 9649)."""
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", data, 24)
        return (low_width | high_width << 16) + 1, (low_height | high_height << 16) + 1
    raise DecodeError("a broken image: a WebP of an unknown kind")
