"""Escapes text from images and archives before it is shown."""

import unicodedata

# Control, format (bidi overrides), surrogate, private use, unassigned, line and paragraph separators.
_HIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def as_text(name: str) -> str:
    """Returns a file's name as text that can be stored: bytes that are not UTF-8 become escapes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def for_terminal(text: str) -> str:
    r"""Returns the text with control, format and line-separating characters as ``\xNN``-style escapes."""
    return "".join(
        char.encode("unicode_escape").decode("ascii") if unicodedata.category(char) in _HIDDEN_CATEGORIES else char
        for char in text
    )
