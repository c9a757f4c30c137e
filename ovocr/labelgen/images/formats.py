"""The formats of encoded images that the installed Pillow decodes, and those that no Pillow does."""

import warnings

from PIL import features

from ovocr.dataset.reasons import QuarantinedError, Reason

# Pillow decodes these everywhere, the next ones if it was built with their libraries.
_ALWAYS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_WITH_FEATURE = {"AVIF": "avif", "JPEG2000": "jpg_2000"}
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_ANY_BRANDS = (b"mif1", b"msf1")  # the other brands of the file say what it is
_JPEG_2000 = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")


def _decoded() -> tuple[str, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an old Pillow warns of names that it does not know
        return (*_ALWAYS, *(name for name, feature in _WITH_FEATURE.items() if features.check(feature)))


FORMATS = _decoded()
if "AVIF" in FORMATS:
    from PIL import AvifImagePlugin

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # there is a worker process for each core


def not_opened(data: bytes) -> QuarantinedError:
    """Returns the error for bytes that Pillow does not open: what they are, as far as their start shows."""
    brands = _brands(data)
    if b"avif" in brands and "AVIF" in FORMATS:
        return QuarantinedError(Reason.UNDECODABLE, "an AVIF whose header cannot be read; it is damaged or cut")
    return QuarantinedError(Reason.NOT_AN_IMAGE, _why_not_decoded(data, brands))


def _why_not_decoded(data: bytes, brands: list[bytes]) -> str:
    if any(brand in _HEIC_BRANDS for brand in brands):
        return "HEIC, which is not decoded; convert it to JPEG first: heif-convert -q 95 IN.heic OUT.jpg"
    missing = "AVIF" if b"avif" in brands else "JPEG 2000" if data.startswith(_JPEG_2000) else None
    if missing is not None and missing.replace(" ", "") not in FORMATS:
        return f"{missing}, which the installed Pillow does not decode; install a newer one: pip install -U pillow"
    return f"none of {', '.join(FORMATS)}"


def _brands(data: bytes) -> list[bytes]:
    """Returns the brands of an ISO base media file (ISO/IEC 14496-12), the major one first; none for other files."""
    if data[4:8] != b"ftyp":
        return []
    box = data[8 : min(int.from_bytes(data[:4], "big"), 512)]
    brands = [box[at : at + 4] for at in range(0, len(box), 4) if at != 4]  # after the major brand is its version
    return brands if brands and brands[0] in (*_HEIC_BRANDS, *_ANY_BRANDS, b"avif", b"avis") else []
