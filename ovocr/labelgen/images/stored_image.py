"""Converts an encoded image to its stored form: an upright JPEG that all decoders decode alike."""

import io
import math
import re
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from ovocr.dataset.reasons import QuarantinedError, Reason
from ovocr.labelgen.images.formats import FORMATS, not_opened
from ovocr.labelgen.images.jpeg import is_plain_jpeg

JPEG_QUALITY = 95
MAX_SIDE = 32_767  # OpenCV's warping has 16-bit coordinates
MAX_ASPECT = 100  # the detector's input has at most 960 pixels a side; a longer strip would be less than 10 pixels wide
# Decoders may round differently. If two decoders differ by more than this, they do not show the same image.
MAX_DECODER_DIFFERENCE = 16
# Decoders are compared at 1/REDUCTION of the size, which takes a quarter of the time.
REDUCTION = 8

# This module checks the size before decoding and gives a reason. Pillow's own limit cannot be set per call.
Image.MAX_IMAGE_PIXELS = None

# Errors that Pillow's decoders raise on broken files, according to their source code.
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    EOFError,
    MemoryError,
    RuntimeError,
    AssertionError,
    struct.error,
    zlib.error,
)
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FULL_RANGE = ("PNG", "JPEG2000")  # Pillow scales their deep gray values to 16 bits
_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")


@dataclass(frozen=True)
class StoredImage:
    """An upright JPEG file and its pixels. pixels: uint8 [height, width, 3], blue-green-red, decoded from ``jpeg``."""

    jpeg: bytes
    pixels: npt.NDArray[np.uint8]

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.pixels.shape[0]


def store_image(data: bytes, max_pixels: int) -> StoredImage:
    """Returns the stored form of an encoded image: its own bytes if it is a plain upright JPEG, else an RGB JPEG.

    Takes the first image of an animation or a file with several images. Does not apply colour profiles. Reads the size
    from the header and checks it before decoding.

    Raises QuarantinedError if the data is not an image, cannot be decoded completely or is too large.
    """
    if not data:
        raise QuarantinedError(Reason.EMPTY, "zero bytes")
    with warnings.catch_warnings():
        # Pillow warns about broken or ignored metadata, which the user cannot change.
        warnings.simplefilter("ignore")
        return _store(data, max_pixels)


def _store(data: bytes, max_pixels: int) -> StoredImage:
    image = _open(data)
    try:
        _check_size(*image.size, max_pixels)
        try:
            if image.format == "JPEG" and is_plain_jpeg(data) and _orientation(image) == 1:
                pixels = _decode(data)
                if pixels is not None and _decodes_alike(data, pixels):
                    return StoredImage(data, pixels)
            image.load()
            _check_size(*image.size, max_pixels)
            return _encode(_turn_upright(_to_rgb(image), _orientation(image)))
        except _DECODER_ERRORS as error:
            raise _undecodable(error) from error
    finally:
        image.close()


def stored_size(jpeg: bytes, max_pixels: int) -> tuple[int, int]:
    """Returns width and height of a stored image after decoding it completely.

    Raises QuarantinedError if the bytes are not in the form of ``store_image``.
    """
    if not is_plain_jpeg(jpeg):
        raise QuarantinedError(Reason.UNDECODABLE, "not a JPEG that every decoder shows alike")
    image = _open(jpeg)
    try:
        _check_size(*image.size, max_pixels)
        if _orientation(image) != 1:
            raise QuarantinedError(Reason.UNDECODABLE, "a JPEG that is not upright")
        image.load()
        return image.width, image.height
    except _DECODER_ERRORS as error:
        raise _undecodable(error) from error
    finally:
        image.close()


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise not_opened(data) from error
    except _DECODER_ERRORS as error:
        raise _undecodable(error) from error


def _undecodable(error: Exception) -> QuarantinedError:
    text = f"{type(error).__name__}: {_ADDRESS.sub('0x…', str(error))}"[:200]
    cut = isinstance(error, EOFError) or "truncated" in text.lower()
    return QuarantinedError(Reason.TRUNCATED if cut else Reason.UNDECODABLE, text)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise QuarantinedError(Reason.UNDECODABLE, f"{width}x{height} pixels")
    if width * height > max_pixels:
        raise QuarantinedError(Reason.TOO_MANY_PIXELS, f"{width}x{height} pixels, more than {max_pixels}")
    if max(width, height) > MAX_SIDE:
        raise QuarantinedError(Reason.SIDE_TOO_LONG, f"{width}x{height} pixels, a side of more than {MAX_SIDE}")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise QuarantinedError(Reason.TOO_ELONGATED, f"{width}x{height} pixels, more than {MAX_ASPECT}:1")


def _orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation, or 1 (upright). Load a TIFF before the call, because loading turns it upright."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except _DECODER_ERRORS:  # the metadata is broken, but the image may be intact
        return 1
    return value if value in _UPRIGHT else 1


def _turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _to_rgb(image: Image.Image) -> Image.Image:
    """Converts an image of any mode to 8-bit RGB."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return Image.fromarray(_to_8_bits(np.asarray(image), full_range=image.format in _FULL_RANGE)).convert("RGB")
    if image.has_transparency_data:
        if image.mode == "La":
            image = image.convert("LA")
        return _flatten(image.convert("RGBA"))
    return image.convert("RGB")


def _to_8_bits(values: npt.NDArray[Any], full_range: bool) -> npt.NDArray[np.uint8]:
    """Scales deep gray values to 8 bits, from 0..65535 or, as a TIFF does not name its range, darkest..brightest."""
    finite = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = (0.0, 65535.0) if full_range else (float(finite.min()), float(finite.max()))
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    return np.clip(np.rint((finite - low) * (255.0 / (high - low))), 0, 255).astype(np.uint8)


def _flatten(image: Image.Image) -> Image.Image:
    """Puts an RGBA image over black or white: the one with more contrast to its visible pixels."""
    alpha = image.getchannel("A")
    opacity = np.asarray(alpha)
    visible = opacity >= 128
    if not visible.any():
        visible = opacity > 0
    gray = np.asarray(image.convert("RGB").convert("L"))
    dark = not visible.any() or gray[visible].mean() < 128
    background = Image.new("RGB", image.size, "white" if dark else "black")
    background.paste(image.convert("RGB"), mask=alpha)
    return background


def _encode(image: Image.Image) -> StoredImage:
    # Encode the pixels alone, without comment, profile or orientation of the original.
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(image)).save(buffer, "JPEG", quality=JPEG_QUALITY)
    jpeg = buffer.getvalue()
    pixels = _decode(jpeg)
    if pixels is None or pixels.shape[:2] != (image.height, image.width):
        raise QuarantinedError(Reason.UNDECODABLE, "the JPEG made from it cannot be decoded")
    return StoredImage(jpeg, pixels)


def _decode(jpeg: bytes) -> npt.NDArray[np.uint8] | None:
    """Returns the pixels that OpenCV decodes, turned by the EXIF orientation; None if it cannot decode them."""
    try:
        pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if pixels is None else np.asarray(pixels, np.uint8)


def _decodes_alike(jpeg: bytes, pixels: npt.NDArray[np.uint8]) -> bool:
    """Returns True if Pillow decodes the same pixels as OpenCV. Raises Pillow's errors for a broken file."""
    # Reduced images of noise may differ although full-size ones do not, because decoders clip colours.
    return any(_difference(jpeg, pixels, scale) <= MAX_DECODER_DIFFERENCE for scale in (REDUCTION, 1))


def _difference(jpeg: bytes, pixels: npt.NDArray[np.uint8], scale: int) -> float:
    """Returns the largest difference of any colour of any pixel between Pillow and OpenCV, at 1/scale of the size."""
    height, width = pixels.shape[:2]
    rows, columns = height // scale, width // scale
    if not (rows and columns):
        return math.inf
    with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
        if image.size != (width, height):
            return math.inf
        image.draft(None, (columns, rows))
        # Blocks cut by the edge are left out: a reduced image averages them with pixels outside.
        theirs = np.asarray(image.convert("RGB"))[:rows, :columns]
    ours = cv2.resize(pixels[: rows * scale, : columns * scale], (columns, rows), interpolation=cv2.INTER_AREA)
    return float(cv2.norm(cv2.cvtColor(ours, cv2.COLOR_BGR2RGB), theirs, cv2.NORM_INF))
