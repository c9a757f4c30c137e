"""Recognises JPEG files that all decoders decode alike.

Format: ITU-T T.81; JFIF; Adobe Technical Note 5116 (marker APP14).
"""

from collections.abc import Iterator

_START, _END = b"\xff\xd8", b"\xff\xd9"
_SCAN = 0xDA
_JFIF, _ADOBE = 0xE0, 0xEE
# All frame markers. The excluded markers are for tables, and 0xC8 is reserved.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PLAIN_FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # Huffman-coded: baseline, extended, progressive
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_PLAIN_SAMPLING = frozenset({0x11, 0x21, 0x12, 0x22})  # factors of luminance; chrominance has 1x1


def is_plain_jpeg(data: bytes) -> bool:
    """Returns True for 8-bit gray or YCbCr, Huffman-coded, with common sampling and unambiguous colours.

    Reads the headers only, so the file may still be damaged.
    """
    if not data.startswith(_START) or _END not in data:
        return False
    frames = []
    jfif, transform = False, None
    for marker, segment in _segments(data):
        if marker in _FRAMES:
            frames.append((marker, segment))
        elif marker == _JFIF and segment.startswith(b"JFIF\0"):
            jfif = True
        elif marker == _ADOBE and segment.startswith(b"Adobe") and len(segment) >= 12:
            transform = segment[11]
    if len(frames) != 1 or frames[0][0] not in _PLAIN_FRAMES:
        return False
    return _is_plain_frame(frames[0][1], jfif, transform)


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields marker and content of each segment before the first scan."""
    at = len(_START)
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        elif marker == _SCAN:
            return
        else:
            end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            yield marker, data[at + 4 : end]
            at = end


def _is_plain_frame(frame: bytes, jfif: bool, transform: int | None) -> bool:
    """Checks a frame header.

    It has precision, height, width, number of components, and id, sampling and quantisation table of each component.
    """
    if len(frame) < 6 or frame[0] != 8 or len(frame) < 6 + 3 * frame[5]:
        return False
    components = [(frame[at], frame[at + 1]) for at in range(6, 6 + 3 * frame[5], 3)]
    if len(components) == 1:
        return True
    if len(components) != 3 or components[0][1] not in _PLAIN_SAMPLING or {c[1] for c in components[1:]} != {0x11}:
        return False
    # Without JFIF, which means YCbCr, decoders use Adobe's transform flag or guess from the component ids.
    if transform is not None:
        return transform == 1
    return jfif or [id for id, _ in components] == [1, 2, 3]
