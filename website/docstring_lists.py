"""Prepares docstrings, which are plain prose, for Markdown: a griffe extension, named in mkdocs.yml."""

import re
from typing import Any

from griffe import Extension, Object

# A note on a parameter or attribute: "labels: class ids", "start, end: offsets".
_NOTE = re.compile(r"([a-z_]\w*(?:, [a-z_]\w*)*): ")
_CODE = re.compile(r"(``.+?``|`[^`]+`)", re.DOTALL)


class DocstringLists(Extension):
    """Rewrites each docstring before it is rendered."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Rewrites the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """Returns a docstring as Markdown: notes become items of a list, and signs like ``**`` are no markup."""
    pieces = _CODE.split(text)
    text = "".join(piece if piece.startswith("`") else re.sub(r"([*<])", r"\\\1", piece) for piece in pieces)
    lines: list[str] = []
    in_notes = False
    for line in text.split("\n"):
        note = _NOTE.match(line)
        if note and (in_notes or not lines or not lines[-1].strip()):
            in_notes = True
            names = ", ".join(f"`{name}`" for name in note[1].split(", "))
            line = f"- {names}: {line[note.end() :]}"
        elif not line.startswith("    "):
            in_notes = False
        lines.append(line)
    return "\n".join(lines)
