"""Small JPEGs of samples for HTML pages."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ovocr.base.errors import OvocrError
from ovocr.trainer.data.images import GROUND_RGB
from ovocr.trainer.data.samples import Sample

THUMBNAIL_SIZE = 384
"""Longest side of a thumbnail, pixels."""
_JPEG_QUALITY = 80
_FRAMES_SHOWN = 4  # of a clip, in rows of two


def spread_evenly(total: int, count: int) -> list[int]:
    """Returns at most count evenly spaced numbers from 0 to total - 1, including both ends."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(np.int64)).tolist()


def to_jpeg(sample: Sample) -> bytes:
    """Encodes a sample as JPEG without its letterbox padding; a clip is shown as four frames, two by two."""
    pixels = sample.pixels if sample.pixels.ndim == 4 else sample.pixels[:, None]
    return small_jpeg(_tiled(_without_padding(pixels)))


def small_jpeg(image: NDArray[np.uint8], size: int = THUMBNAIL_SIZE) -> bytes:
    """Encodes an RGB image [H, W, 3] as a JPEG with sides of at most ``size`` pixels. Raises OvocrError."""
    scale = min(1.0, size / max(image.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    bgr = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR)
    small = cv2.resize(bgr, (width, height), interpolation=cv2.INTER_AREA)
    encoded, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not encoded:
        raise OvocrError("a thumbnail cannot be encoded as JPEG")
    return data.tobytes()


def _tiled(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Tiles frames of a clip [3, F, H, W], including the first and the last, in rows of two: [H, W, 3]."""
    frames = [pixels[:, frame].transpose(1, 2, 0) for frame in spread_evenly(pixels.shape[1], _FRAMES_SHOWN)]
    if len(frames) == 1:
        return frames[0]
    padding = np.full_like(frames[0], GROUND_RGB)
    frames += [padding] * (len(frames) % 2)
    return np.vstack([np.hstack(frames[first : first + 2]) for first in range(0, len(frames), 2)])


def _without_padding(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Crops [3, F, S, S] to the rows and columns that are not padding in every frame."""
    ink = (pixels != np.array(GROUND_RGB, np.uint8)[:, None, None, None]).any(axis=(0, 1))
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return pixels
    return pixels[:, :, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
