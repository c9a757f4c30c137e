"""Strings that come from pictures and archives, made safe to show."""

import unicodedata

_HIDDEN_CATEGORIES = {
    "Cc",
    "Cf",
    "Cs",
    "Co",
    "Cn",
    "Zl",
    "Zp",
}  # control, format (bidi overrides), surrogate, unassigned


def as_text(name: str) -> str:
    """Returns a file's name as text that can be stored: bytes that are not UTF-8 become escapes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def for_terminal(text: str) -> str:
    r"""Show control, format and line-separating characters as ``\xNN``-style escapes instead of sending them."""
    return "".join(
        char.encode("unicode_escape").decode("ascii") if unicodedata.category(char) in _HIDDEN_CATEGORIES else char
        for char in text
    )
