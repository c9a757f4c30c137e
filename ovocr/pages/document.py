"""An HTML page that needs nothing beside it: no network, no font, no file. What all reports share.

Words and names in it come from strangers' pictures and archives. Every one goes through ``text``, and should one ever
not, the page's policy lets no script run but the page's own, and nothing be fetched.
"""

import base64
import hashlib
import html
import json
from collections.abc import Iterable
from typing import Any

from ovocr.base.escape import for_terminal


def document(
    *, title: str, header: str, main: str, footer: str, style: str, script: str = "", pictures: bool = False
) -> str:
    """The whole page. The same parts give the same bytes.

    title: plain text; header, main, footer: HTML. style, script: the only ones that the page's policy lets work, by
    their hashes. pictures: whether images inside the page (data URLs) are shown.
    """
    sources = [
        "default-src 'none'",
        "img-src data:" if pictures else "",
        f"style-src {_hash(style)}",
        f"script-src {_hash(script)}" if script else "",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    end = f"\n<script>{script}</script>" if script else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{"; ".join(source for source in sources if source)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{html.escape(for_terminal(title))}</title>
<style>{style}</style>
</head>
<body>
<header>
{header}
</header>
<main>
{main}
</main>
<footer>
{footer}
</footer>{end}
</body>
</html>
"""


def text(words: str) -> str:
    """A stranger's text: escaped, what is hidden shown, and its direction kept from what stands around it."""
    return f"<bdi>{inner_text(words)}</bdi>"


def inner_text(words: str) -> str:
    """The same without an element of its own: for attributes, and for parts of what keeps its direction already."""
    return html.escape(for_terminal(words), quote=True)


def panel(title: str, note: str, content: str) -> str:
    """A box with a heading and, unless it is empty, a line of HTML below it."""
    paragraph = f"<p>{note}</p>" if note else ""
    return f'<div class="panel">\n<h3>{title}</h3>{paragraph}\n{content}\n</div>'


def table(header: str, rows: Iterable[str]) -> str:
    """A table that scrolls sideways where the screen is narrow. header: th elements; rows: tr elements."""
    body = "\n".join(rows)
    return f'<div class="scroll"><table>\n<thead><tr>{header}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def data_block(name: str, value: Any) -> str:
    """A value as JSON for the page's script, by the element id ``name``; nothing in it can end the element.

    Raises ValueError for a value that JSON does not have.
    """
    dumped = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        dumped = dumped.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/json" id="{name}">{dumped}</script>'


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
