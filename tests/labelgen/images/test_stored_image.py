"""Stored images of all kinds of files, and the reasons for files that cannot be stored."""

import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image, features

from ovocr.dataset.reasons import QuarantinedError, Reason
from ovocr.labelgen.images.jpeg import is_plain_jpeg
from ovocr.labelgen.images.stored_image import store_image

MAX_PIXELS = 1_000_000
LEFT, RIGHT = (200, 40, 40), (40, 60, 200)


def two_halves(width: int = 64, height: int = 32) -> Image.Image:
    """Returns an image that is reddish on the left and bluish on the right."""
    image = Image.new("RGB", (width, height), LEFT)
    image.paste(RIGHT, (width // 2, 0, width, height))
    return image


def encode(image: Image.Image, format: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def rotated(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(two_halves(), exif=exif.tobytes())


def png_header(width: int, height: int) -> bytes:
    """Returns a PNG whose header claims a size, with a few bytes of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def bmp_header(width: int, height: int) -> bytes:
    return struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def gray16() -> Image.Image:
    return Image.fromarray(np.repeat(np.array([[0, 16384, 32768, 65535]], np.uint16), 8, axis=0).repeat(8, axis=1))


def rgba(color: tuple[int, int, int], alpha: int = 255) -> Image.Image:
    """Returns a coloured square on a transparent background."""
    image = Image.new("RGBA", (64, 64), (128, 128, 128, 0))
    image.paste((*color, alpha), (16, 16, 48, 48))
    return image


def palette(transparency: int) -> bytes:
    image = Image.new("P", (64, 64), 0)
    image.putpalette([0, 0, 0, 250, 250, 250])
    image.paste(1, (16, 16, 48, 48))
    return encode(image, "PNG", transparency=transparency)


def animation(format: str) -> bytes:
    second = Image.new("RGB", (64, 32), "green")
    return encode(two_halves(), format, save_all=True, append_images=[second, second], duration=50)


def stripes(width: int, height: int) -> Image.Image:
    image = Image.new("RGB", (width, height), "white")
    for left in range(0, width, 12):
        image.paste("black", (left, 0, left + 5, height))
    return image


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).choice([0, 255], (200, 200, 3)).astype(np.uint8))


def rgb_of(data: bytes) -> np.ndarray:
    return store_image(data, MAX_PIXELS).pixels[:, :, ::-1].astype(int)


def is_two_halves(pixels: np.ndarray) -> bool:
    height, width = pixels.shape[:2]
    left, right = pixels[height // 2, width // 4], pixels[height // 2, -width // 4]
    return bool(np.abs(left - LEFT).max() < 30 and np.abs(right - RIGHT).max() < 30)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode(two_halves()), id="baseline"),
        pytest.param(encode(two_halves(), progressive=True), id="progressive"),
        pytest.param(encode(two_halves(), subsampling=0), id="not subsampled"),
        pytest.param(encode(two_halves().convert("L")), id="gray"),
        pytest.param(rotated(1), id="upright by EXIF"),
        pytest.param(rotated(9), id="impossible orientation"),
        pytest.param(encode(two_halves(), comment=b"hello"), id="comment"),
        pytest.param(encode(two_halves()) + b"after the end", id="bytes after the end"),
        pytest.param(encode(stripes(1167, 54)), id="sides that are not multiples of 8"),
        pytest.param(encode(stripes(300, 7)), id="lower than 8 pixels"),
        pytest.param(encode(noise(), quality=5), id="noise"),
    ],
)
def test_plain_jpeg_is_stored_unchanged(data: bytes):
    assert store_image(data, MAX_PIXELS).jpeg == data


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode(two_halves(), "PNG"), id="PNG"),
        pytest.param(encode(two_halves(), "WEBP", lossless=True), id="WebP"),
        pytest.param(encode(two_halves(), "BMP"), id="BMP"),
        pytest.param(encode(two_halves(), "TIFF", compression="tiff_lzw"), id="TIFF"),
        pytest.param(encode(two_halves(), "GIF"), id="GIF"),
        pytest.param(animation("GIF"), id="animated GIF"),
        pytest.param(animation("WEBP"), id="animated WebP"),
        pytest.param(animation("PNG"), id="animated PNG"),
        pytest.param(animation("TIFF"), id="TIFF of several pages"),
        pytest.param(encode(two_halves().convert("CMYK")), id="CMYK JPEG"),
        pytest.param(encode(two_halves().convert("CMYK"), "TIFF"), id="CMYK TIFF"),
        pytest.param(encode(two_halves().convert("LAB"), "TIFF"), id="LAB TIFF"),
        pytest.param(encode(two_halves().convert("P"), "PNG"), id="palette"),
        pytest.param(encode(two_halves().convert("RGBA"), "PNG"), id="opaque RGBA"),
        pytest.param(encode(two_halves(), keep_rgb=True), id="RGB JPEG"),
        pytest.param(encode(two_halves(), "MPO", save_all=True, append_images=[two_halves()]), id="MPO"),
        pytest.param(rotated(4), id="upside down and mirrored"),
    ],
)
def test_other_images_are_stored_as_plain_jpeg(data: bytes):
    stored = store_image(data, MAX_PIXELS)
    assert stored.jpeg != data
    assert is_plain_jpeg(stored.jpeg)
    assert (stored.width, stored.height) == (64, 32)
    assert is_two_halves(stored.pixels[:, :, ::-1].astype(int))
    with Image.open(io.BytesIO(stored.jpeg)) as image:
        assert (image.mode, image.getexif().get(0x0112), image.info.get("icc_profile")) == ("RGB", None, None)


@pytest.mark.parametrize(
    ("orientation", "first_row", "first_column"),
    [(2, "RL", "RR"), (3, "RL", "RR"), (5, "LL", "LR"), (6, "LL", "LR"), (7, "RR", "RL"), (8, "RR", "RL")],
)
def test_rotated_image_is_stored_upright(orientation: int, first_row: str, first_column: str):
    pixels = rgb_of(rotated(orientation))
    height, width = pixels.shape[:2]
    assert (width, height) == ((32, 64) if orientation > 4 else (64, 32))

    def side(x: int, y: int) -> str:
        return "L" if pixels[y, x, 0] > pixels[y, x, 2] else "R"

    assert side(4, 4) + side(width - 5, 4) == first_row
    assert side(4, 4) + side(4, height - 5) == first_column


def test_pixels_match_the_stored_file():
    stored = store_image(encode(two_halves(), "PNG"), MAX_PIXELS)
    assert (cv2.imdecode(np.frombuffer(stored.jpeg, np.uint8), cv2.IMREAD_COLOR) == stored.pixels).all()


def test_jpeg_quality_is_95():
    stored = store_image(encode(two_halves(), "PNG"), MAX_PIXELS)
    expected = encode(two_halves(), quality=95)
    with Image.open(io.BytesIO(stored.jpeg)) as image, Image.open(io.BytesIO(expected)) as same:
        assert image.quantization == same.quantization


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_gray_is_scaled_to_8_bits(format: str):
    row = rgb_of(encode(gray16(), format))[4, 4::8, 0]
    assert np.abs(row - [0, 64, 128, 255]).max() <= 3


def test_floats_are_stretched_and_nan_is_black():
    values = np.full((8, 32), np.nan, np.float32)
    values[:, 8:16], values[:, 16:24], values[:, 24:] = 0.0, 0.5, 1.0
    row = rgb_of(encode(Image.fromarray(values), "TIFF"))[4, 4::8, 0]
    assert np.abs(row - [0, 0, 128, 255]).max() <= 3


@pytest.mark.parametrize(
    ("data", "inside", "ground"),
    [
        pytest.param(encode(rgba((10, 10, 10)), "PNG"), 10, 255, id="dark RGBA over white"),
        pytest.param(encode(rgba((245, 245, 245)), "PNG"), 245, 0, id="bright RGBA over black"),
        pytest.param(encode(rgba((245, 245, 245)).convert("LA"), "PNG"), 245, 0, id="bright LA over black"),
        pytest.param(encode(rgba((245, 245, 245)), "WEBP", lossless=True), 245, 0, id="bright WebP over black"),
        pytest.param(palette(transparency=0), 250, 0, id="palette, ground transparent"),
        pytest.param(palette(transparency=1), 255, 0, id="palette, square transparent"),
        pytest.param(encode(rgba((10, 10, 10), alpha=90), "PNG"), 169, 255, id="faint and dark over white"),
        pytest.param(encode(rgba((0, 0, 0), alpha=0), "PNG"), 255, 255, id="nothing to see"),
    ],
)
def test_transparent_image_gets_a_contrasting_background(data: bytes, inside: int, ground: int):
    pixels = rgb_of(data)
    assert abs(pixels[32, 32, 0] - inside) <= 3
    assert abs(pixels[4, 4, 0] - ground) <= 3


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "I;16", "I", "F"])
def test_single_pixel_is_stored(mode: str):
    stored = store_image(encode(Image.new(mode, (1, 1)), "TIFF" if mode in "IF" else "PNG"), MAX_PIXELS)
    assert (stored.width, stored.height) == (1, 1)


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        pytest.param(b"", Reason.EMPTY, "zero bytes", id="zero bytes"),
        pytest.param(b"<!DOCTYPE html><h1>404</h1>", Reason.NOT_AN_IMAGE, "none of JPEG", id="a web page"),
        pytest.param(b"\xff\xd8\xff", Reason.NOT_AN_IMAGE, "none of JPEG", id="the first bytes of a JPEG"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF\n", Reason.NOT_AN_IMAGE, "none of JPEG", id="PostScript"),
        pytest.param(encode(two_halves(), "ICO"), Reason.NOT_AN_IMAGE, "none of JPEG", id="a format not listed"),
        pytest.param(encode(two_halves(600, 400))[:-600], Reason.TRUNCATED, "truncated", id="a cut JPEG"),
        pytest.param(encode(two_halves(600, 400), "PNG")[:-600], Reason.TRUNCATED, "truncated", id="a cut PNG"),
        pytest.param(png_header(50_000, 50_000), Reason.TOO_MANY_PIXELS, "50000x50000", id="a bomb"),
        pytest.param(png_header(2_000_000_000, 2_000_000_000), Reason.TOO_MANY_PIXELS, "", id="a larger bomb"),
        pytest.param(bmp_header(50_000, 30_000), Reason.TOO_MANY_PIXELS, "50000x30000", id="only the header of a BMP"),
        pytest.param(png_header(50_000, 20), Reason.SIDE_TOO_LONG, "50000x20", id="50,000 pixels wide"),
        pytest.param(
            encode(Image.new("RGB", (50_000, 20)), "PNG"), Reason.SIDE_TOO_LONG, "", id="50,000 pixels wide, complete"
        ),
        pytest.param(encode(Image.new("RGB", (20, 50_000))), Reason.SIDE_TOO_LONG, "", id="50,000 pixels high"),
        pytest.param(encode(Image.new("RGB", (808, 8))), Reason.TOO_ELONGATED, "808x8", id="a thread"),
        pytest.param(png_header(64, 32), Reason.TRUNCATED, "truncated", id="no pixels after the header"),
        pytest.param(encode(two_halves(600, 400), "WEBP")[:300], Reason.UNDECODABLE, "", id="a cut WebP"),
        pytest.param(encode(two_halves(600, 400), "GIF")[:400], Reason.TRUNCATED, "truncated", id="a cut GIF"),
        pytest.param(bmp_header(64, 32), Reason.TRUNCATED, "truncated", id="a BMP without pixels"),
    ],
)
def test_unusable_data_is_quarantined_with_a_reason(data: bytes, reason: Reason, detail: str):
    with pytest.raises(QuarantinedError) as caught:
        store_image(data, MAX_PIXELS)
    assert caught.value.reason is reason
    assert detail in caught.value.detail
    assert "0x7f" not in caught.value.detail


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_randomly_damaged_image_is_stored_or_quarantined(format: str):
    whole = encode(two_halves(120, 80), format)
    random = np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole[: random.integers(1, len(whole) + 1)])
        for index in random.integers(0, len(data), 4):
            data[index] = random.integers(0, 256)
        try:
            stored = store_image(bytes(data), MAX_PIXELS)
        except QuarantinedError:
            continue
        assert stored.width * stored.height <= MAX_PIXELS


def test_max_pixels_is_inclusive(drawn: Callable[..., Image.Image]):
    data = encode(drawn("fox", (500, 20)))
    assert store_image(data, 500 * 20).width == 500
    with pytest.raises(QuarantinedError, match="more than 9999"):
        store_image(data, 500 * 20 - 1)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda data: data.replace(b"JFIF\0", b"XXXX\0"), "no JFIF, ids 1 2 3"),
        (lambda data: data, "JFIF"),
    ],
)
def test_jpeg_with_common_colours_is_plain(change: Callable[[bytes], bytes], why: str):
    assert is_plain_jpeg(change(encode(two_halves()))), why


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode(two_halves()).replace(b"\xff\xc0", b"\xff\xc9"), id="arithmetic coding"),
        pytest.param(encode(two_halves()).replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"), id="12 bits"),
        pytest.param(encode(two_halves())[:-2], id="no end"),
        pytest.param(encode(two_halves(), keep_rgb=True), id="RGB components"),
        pytest.param(encode(two_halves().convert("CMYK")), id="CMYK"),
        pytest.param(encode(two_halves(), "PNG"), id="not a JPEG"),
        pytest.param(b"\xff\xd8\xff\xd9", id="no frame"),
        pytest.param(b"\xff\xd8\xff\xc0\xff", id="cut in a marker"),
    ],
)
def test_ambiguous_or_broken_jpeg_is_not_plain(data: bytes):
    assert not is_plain_jpeg(data)


@pytest.mark.parametrize(
    ("format", "feature", "options"),
    [("AVIF", "avif", {}), ("JPEG2000", "jpg_2000", {}), ("JPEG2000", "jpg_2000", {"no_jp2": True})],
)
def test_avif_and_jpeg_2000_become_jpegs(format: str, feature: str, options: dict[str, object]):
    if not features.check(feature):
        pytest.skip(f"the installed Pillow does not decode {format}")
    data = (
        encode(two_halves(), format, quality=90, **options)
        if format == "AVIF"
        else encode(two_halves(), format, **options)
    )
    stored = store_image(data, MAX_PIXELS)
    assert is_plain_jpeg(stored.jpeg)
    assert stored.jpeg != data
    assert (stored.width, stored.height) == (64, 32)
    assert np.abs(stored.pixels[16, 8].astype(int) - LEFT[::-1]).max() < 12
    assert np.abs(stored.pixels[16, 56].astype(int) - RIGHT[::-1]).max() < 12
    with pytest.raises(QuarantinedError) as cut:
        store_image(data[: len(data) // 2], MAX_PIXELS)
    assert cut.value.reason in (Reason.UNDECODABLE, Reason.TRUNCATED)
    with pytest.raises(QuarantinedError) as large:
        store_image(data, 2000)
    assert large.value.reason is Reason.TOO_MANY_PIXELS


def test_a_rotated_avif_is_turned_upright():
    if not features.check("avif"):
        pytest.skip("the installed Pillow does not decode AVIF")
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = store_image(encode(two_halves(), "AVIF", exif=exif.tobytes()), MAX_PIXELS)
    assert (stored.width, stored.height) == (32, 64)
    assert stored.pixels[8, 16, 2] > 150  # red on top


@pytest.mark.parametrize(
    "start", [b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic"], ids=["heic", "mif1"]
)
def test_heic_is_quarantined_with_what_to_do(start: bytes):
    with pytest.raises(QuarantinedError) as caught:
        store_image(start + bytes(100), MAX_PIXELS)
    assert caught.value.reason is Reason.NOT_AN_IMAGE
    assert caught.value.detail.startswith("HEIC, which is not decoded; convert it to JPEG first: heif-convert")
