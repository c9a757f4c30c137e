"""Traditional Chinese characters as simplified ones, character by character, so that places in the line stay.

The table is that of OpenCC (TSCharacters). Simplifying is many to one and needs no context; the other direction does
(发 is 發 or 髮), so it is not offered.
"""

from importlib.metadata import version
from typing import Any

from ovocr.base.errors import MissingExtraError

_HAN_BLOCKS = ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0x20000, 0x323B0))


def opencc_version() -> str:
    """The release that the table is from. Raises MissingExtraError where it is not installed."""
    _import_opencc()
    return version("opencc")


def simplifying_table() -> dict[int, str]:
    """For ``str.translate``: code point of a traditional character -> its simplified one, which is not in the table.

    Takes 0.1 s. Raises MissingExtraError where OpenCC is not installed.
    """
    simplify = _import_opencc().OpenCC("t2s").convert
    characters = [chr(code) for block in _HAN_BLOCKS for code in range(*block)]
    # A line each: OpenCC would look for words of several characters else.
    simplified = simplify("\n".join(characters)).split("\n")
    again = simplify("\n".join(simplified)).split("\n")  # 薴 becomes 苧, which is the traditional form of 苎
    pairs = zip(characters, again, strict=True)
    return {ord(character): simple for character, simple in pairs if simple != character and len(simple) == 1}


def _import_opencc() -> Any:
    try:
        import opencc
    except ImportError as error:
        raise MissingExtraError("folding traditional characters", "vocab") from error
    return opencc
