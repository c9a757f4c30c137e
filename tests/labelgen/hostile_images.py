"""Broken, hostile and unusual images."""

import io
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE = (300, 60)


def draw(text: str = "river stone", size: tuple[int, int] = SIZE, font: int = 32) -> Image.Image:
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((12, 8), text, fill="black", font=ImageFont.load_default(font))
    return image


def encode(image: Image.Image, format: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(*chunks: bytes) -> bytes:
    """Returns a valid PNG with these chunks after its header."""
    data = encode(draw(), "PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def png_of(width: int, height: int, depth: int = 8, colours: int = 2, data: bytes = b"\0") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def bomb(size: int = 200 * 2**20) -> bytes:
    return zlib.compress(bytes(size), 9)


def jpeg_of(width: int, height: int) -> bytes:
    """Returns a JPEG whose header has a different size than its pixels."""
    data = bytearray(encode(draw()))
    offset = data.index(b"\xff\xc0") + 5
    data[offset : offset + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def jpeg_with(marker: int, segment: bytes) -> bytes:
    data = encode(draw())
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def exif(entries: bytes, count: int, following: int = 0) -> bytes:
    directory = struct.pack("<H", count) + entries + struct.pack("<I", following)
    return jpeg_with(0xE1, b"Exif\0\0II*\0\x08\0\0\0" + directory)


def orientation(value: int, kind: int = 3, count: int = 1) -> bytes:
    return exif(struct.pack("<HHII", 0x0112, kind, count, value), 1)


def marker(data: bytes, kind: int) -> int:
    return data.index(bytes([0xFF, kind]))


def jpeg_cut(kind: int, after: int) -> bytes:
    data = encode(draw())
    return data[: marker(data, kind) + after]


def many_scans(scans: int = 20_000, side: int = 4000) -> bytes:
    """Returns a progressive JPEG that repeats its last scan. Decoders visit every block for each scan."""
    data = encode(Image.new("L", (side, side), "gray"), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + b"\xff\xd9"


def gif_of(canvas: tuple[int, int], frame: tuple[int, int]) -> bytes:
    """Returns a GIF with these sizes in the headers of its canvas and its first frame."""
    data = bytearray(encode(draw().convert("P"), "GIF"))
    struct.pack_into("<HH", data, 6, *canvas)
    offset = data.index(b",\0\0\0\0")
    struct.pack_into("<HH", data, offset + 5, *frame)
    return bytes(data)


def webp_of(width: int, height: int) -> bytes:
    """Returns a WebP with an extended header whose canvas has this size."""
    frame = encode(draw(), "WEBP")[12:]
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + size + frame
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff_of(tags: list[tuple[int, int, int, int]], following: int = 0, data: bytes = b"") -> bytes:
    """Returns a TIFF. tags: number, type, count, and value or offset of each."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + struct.pack("<I", following) + data


def gray_tiff(width: int, height: int, *more: tuple[int, int, int, int], following: int = 0) -> bytes:
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    return tiff_of(
        sorted([*tags, (273, 4, 1, 200), (278, 4, 1, height), (279, 4, 1, 64), *more]), following, bytes(256)
    )


def bmp_of(width: int, height: int, bits: int = 24, compression: int = 0, data: bytes = b"") -> bytes:
    palette = bytes(1024) if bits == 8 else b""
    start = 54 + len(palette)
    header = struct.pack("<2sIHHI", b"BM", start + len(data), 0, 0, start)
    return header + struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0) + palette + data


def upside_down_bmp() -> bytes:
    """Returns a BMP of negative height: its rows go from top to bottom."""
    image = draw()
    rows = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    data = bytearray(encode(rows, "BMP"))
    struct.pack_into("<i", data, 22, -image.height)
    return bytes(data)


def adobe_rgb() -> bytes:
    """Returns a JPEG that stores RGB. Only the Adobe marker says so."""
    return encode(draw(), keep_rgb=True)


def ycck() -> bytes:
    """Returns a CMYK JPEG whose Adobe marker says YCCK."""
    data = bytearray(encode(draw().convert("CMYK")))
    data[data.index(b"Adobe") + 11] = 2
    return bytes(data)


def apng(frames: int) -> bytes:
    return png_with(chunk(b"acTL", struct.pack(">II", frames, 0)))


def animation(format: str) -> bytes:
    others = [Image.new("RGB", SIZE, "green"), Image.new("RGB", SIZE, "red")]
    return encode(draw(), format, save_all=True, append_images=others, duration=40)


def many_frames(frames: int = 20_000) -> bytes:
    """Returns a GIF that repeats one frame."""
    data = encode(draw().convert("P"), "GIF")
    start = data.index(b",\0\0\0\0")
    return data[:start] + data[start:-1] * frames + b";"


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("fox.jpg", encode(draw()))
    return buffer.getvalue()


def interlaced() -> bytes:
    """Returns an interlaced PNG (Adam7), which Pillow cannot write. Source: PNG specification, 8.2."""
    pixels = np.asarray(draw("garden"))
    rows = []
    for x, y, dx, dy in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        rows += [b"\0" + row.tobytes() for row in pixels[y::dy, x::dx]]
    header = struct.pack(">IIBBBBB", *SIZE, 8, 2, 0, 0, 1)
    data = chunk(b"IDAT", zlib.compress(b"".join(rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def deep_rgb() -> bytes:
    """Returns an RGB PNG of 16 bits per channel."""
    pixels = np.asarray(draw("garden")).astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return png_of(*SIZE, depth=16, data=rows)


def noise(side: int = 400) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8))


def page(words: int, size: tuple[int, int]) -> Image.Image:
    """Returns an image with this many words in small print."""
    rows = [" ".join(["river", "stone", "garden", "window", "lazy"] * 5) for _ in range(words // 25)]
    return draw("\n".join(rows), size, 12)


def rotated(degrees: int) -> bytes:
    return encode(draw("garden window").rotate(degrees, expand=True), "PNG")
