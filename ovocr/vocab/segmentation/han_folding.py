"""Converts traditional Chinese characters to simplified ones, one by one, so offsets in the line stay the same.

The table is OpenCC's TSCharacters. Simplifying is many to one and needs no context. The other direction needs context
(发 is 發 or 髮) and is not offered.
"""

from importlib.metadata import version
from typing import Any

from ovocr.base.errors import MissingExtraError

_HAN_BLOCKS = ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0x20000, 0x323B0))


def opencc_version() -> str:
    """Returns the installed release of OpenCC. Raises MissingExtraError if it is not installed."""
    _import_opencc()
    return version("opencc")


def simplifying_table() -> dict[int, str]:
    """Returns a table for ``str.translate`` that maps each traditional character to its simplified character.

    Simplified characters are not keys of the table. Takes 0.1 s. Raises MissingExtraError if OpenCC is not installed.
    """
    simplify = _import_opencc().OpenCC("t2s").convert
    characters = [chr(code) for block in _HAN_BLOCKS for code in range(*block)]
    # One character per line; otherwise OpenCC looks for words of several characters.
    simplified = simplify("\n".join(characters)).split("\n")
    twice_simplified = simplify("\n".join(simplified)).split("\n")  # 薴 becomes 苧, the traditional form of 苎
    pairs = zip(characters, twice_simplified, strict=True)
    return {ord(character): simple for character, simple in pairs if simple != character and len(simple) == 1}


def _import_opencc() -> Any:
    try:
        import opencc
    except ImportError as error:
        raise MissingExtraError("folding traditional characters", "vocab") from error
    return opencc
