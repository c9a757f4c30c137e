"""Image processor of the vision encoder in the folder of this file; `ovocr export` wrote it (Apache-2.0).

It shows the whole image, letterboxed into a square, because a centre crop would cut text away. The pixels are those of
training: scaled by OpenCV, and decoded by it if the image is given as a file or as bytes.
"""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image, ImageOps
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature

try:  # transformers would call the package cv2 in its error
    import cv2
except ImportError as error:
    raise ImportError("the image processor needs OpenCV: pip install opencv-python-headless") from error

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)
_MAX_PIXELS = 200_000_000
_REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}
_DECODED_BY_OPENCV = ("JPEG", "PNG", "WEBP")
# Modes of Pillow with 16 bits, which its conversion to RGB would clip instead of scale.
_DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N")


class OneVisionEncoderImageProcessor(BaseImageProcessor):
    """Letterboxes images into a square and normalises them.

    size: {"height", "width"} of the square, pixels; both are equal. do_normalize: whether to normalise; without it the
    pixels are uint8 from 0 to 255. image_mean, image_std: of values from 0 to 1; the mean also fills the borders.
    """

    model_input_names: ClassVar[list[str]] = ["pixel_values"]

    def __init__(
        self,
        size: dict[str, int] | int | None = None,
        do_normalize: bool = True,
        image_mean: Iterable[float] = _MEAN,
        image_std: Iterable[float] = _STD,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.size = _square(size if size is not None else 448)
        # LLaVA asks for the side of the encoder's input by this name.
        self.crop_size = dict(self.size)
        self.do_normalize = do_normalize
        self.image_mean, self.image_std = list(image_mean), list(image_std)

    def __call__(self, images: Any, **kwargs: Any) -> BatchFeature:
        """See ``preprocess``."""
        return self.preprocess(images, **kwargs)

    def preprocess(
        self,
        images: Any,
        size: dict[str, int] | int | None = None,
        do_normalize: bool | None = None,
        return_tensors: str | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Returns pixel_values: one array [3, size, size] for each image, or a tensor of them with ``return_tensors``.

        images: one image or a list of them. An image is the path of a file, its bytes, a PIL image, or an RGB or grey
        array or tensor of uint8 values [H, W], [H, W, 3] or [3, H, W]. Other options of the image processors of
        transformers have no effect: the encoder was trained on letterboxed images.

        Raises TypeError or ValueError if something is not an image.
        """
        listed = _listed(images)
        if not listed:
            raise ValueError("no image is given")
        side = (self.size if size is None else _square(size))["height"]
        ground = tuple(round(255 * mean) for mean in self.image_mean)
        pixels = [_letterbox(_rgb(image, side), side, ground) for image in listed]
        if self.do_normalize if do_normalize is None else do_normalize:
            pixels = [self._normalised(square) for square in pixels]
        return BatchFeature(data={"pixel_values": pixels}, tensor_type=return_tensors)

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings, without image_processor_type, which would make transformers 4 advise another one."""
        return {name: value for name, value in super().to_dict().items() if name != "image_processor_type"}

    def _normalised(self, square: np.ndarray) -> np.ndarray:
        mean, std = ((255 * np.array(values)).astype(np.float32) for values in (self.image_mean, self.image_std))
        return (square.astype(np.float32) - mean[:, None, None]) / std[:, None, None]


def _square(size: Any) -> dict[str, int]:
    sides = {size} if isinstance(size, int) else {size[key] for key in ("height", "width")}
    if len(sides) != 1:
        raise ValueError(f"size {size}: the input is a square; height and width must be equal")
    side = sides.pop()
    return {"height": side, "width": side}


def _listed(images: Any) -> list[Any]:
    """Returns a list of images; one array of four axes is a batch."""
    if isinstance(images, list | tuple):
        return [image for item in images for image in _listed(item)]
    if getattr(images, "ndim", 0) == 4:
        return list(images)
    return [images]


def _rgb(image: Any, side: int) -> np.ndarray:
    """Returns an image as RGB, uint8 [H, W, 3], upright; large JPEG files at a reduced scale, as in training."""
    if isinstance(image, str | Path):
        image = Path(image).read_bytes()
    if isinstance(image, bytes):
        return _decoded(image, side)
    if isinstance(image, Image.Image):
        return _from_pillow(image)
    array = np.asarray(image.detach().cpu() if hasattr(image, "detach") else image)
    if array.dtype != np.uint8:
        raise TypeError(f"an image of {array.dtype} values: uint8 values from 0 to 255 are needed")
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or not array.size:
        raise ValueError(f"an image of shape {list(array.shape)}: [H, W], [H, W, 3] or [3, H, W] is needed")
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)))


def _decoded(data: bytes, side: int) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:  # reads the header only
        width, height = image.size
        if width * height > _MAX_PIXELS:
            raise ValueError(f"an image of {width} x {height} pixels; the limit is {_MAX_PIXELS}")
        if image.format not in _DECODED_BY_OPENCV:
            return _from_pillow(image)
        mode = cv2.IMREAD_COLOR
        if image.format == "JPEG":
            mode = next((flag for scale, flag in _REDUCED.items() if max(width, height) >= scale * side), mode)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    if decoded is None:
        raise ValueError("a broken image that cannot be decoded")
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def _from_pillow(image: Image.Image) -> np.ndarray:
    upright = ImageOps.exif_transpose(image)
    if upright.mode in _DEEP_MODES:
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    return np.array(upright.convert("RGB"))


def _letterbox(image: np.ndarray, side: int, ground: tuple[int, ...]) -> np.ndarray:
    """Scales [H, W, 3] into the middle of a padded square, keeping the aspect ratio: uint8 [3, side, side]."""
    height, width, _ = image.shape
    longest = max(height, width)
    inner_height, inner_width = (max(1, round(length * side / longest)) for length in (height, width))
    interpolation = cv2.INTER_AREA if longest > side else cv2.INTER_LINEAR
    scaled = cv2.resize(image, (inner_width, inner_height), interpolation=interpolation)
    square = np.empty((side, side, 3), np.uint8)
    square[:] = ground
    top, left = (side - inner_height) // 2, (side - inner_width) // 2
    square[top : top + inner_height, left : left + inner_width] = scaled
    return np.ascontiguousarray(square.transpose(2, 0, 1))


__all__ = ["OneVisionEncoderImageProcessor"]
