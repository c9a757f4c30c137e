"""Renders an HTML report as one file that needs no network, no font and no other file.

Words and names in a report come from untrusted images and archives. Two rules keep them text:

- Every value that a template prints is escaped. Hidden characters, such as line breaks and direction overrides, are
  printed as visible escapes.
- The page's Content-Security-Policy allows the page's own style and script, by hash, and no request.
"""

import base64
import hashlib
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ovocr.base.escape import for_terminal
from ovocr.base.plural import counted

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_JSON_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}


def render_page(package: str, *, script: bool = False, images: bool = False, **values: Any) -> str:
    """Returns the page of a report. The same values give the same bytes.

    Args:
        package: the package whose folder ``templates`` contains the report's page.html.j2, page.css and page.js.
        script: whether the page has a script, page.js.
        images: whether the page may show images that it contains (data URLs).
        values: variables of the template.
    """
    style = _read("ovocr.pages", "base.css") + _read(package, "page.css")
    code = _read(package, "page.js") if script else ""
    policy = [
        "default-src 'none'",
        *(["img-src data:"] if images else []),
        f"style-src {_hash(style)}",
        *([f"script-src {_hash(code)}"] if script else []),
        "base-uri 'none'",
        "form-action 'none'",
    ]
    page = environment(package).get_template("page.html.j2")
    return page.render(values, policy="; ".join(policy), style=style, script=code)


def environment(package: str) -> "Environment":
    """Returns the template environment of a package. Imports Jinja2, which only pages need."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    made = Environment(
        autoescape=True,
        finalize=_show_hidden,
        keep_trailing_newline=True,
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("ovocr.pages")]),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters.update(counted=counted, data_url=_data_url, percent="{:.1%}".format, thousands="{:,}".format)
    made.filters.update(json_data=_json_data)
    return made


def _show_hidden(value: Any) -> Any:
    """Returns printed values as visible text. Markup, the output of macros and filters, is not changed."""
    return value if hasattr(value, "__html__") else for_terminal(str(value))


def _data_url(jpeg: bytes) -> "Markup":
    from markupsafe import Markup

    return Markup(f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}")


def _json_data(value: Any) -> "Markup":
    """Returns JSON for a script element: hidden characters are visible, and nothing in it can end the element.

    Raises ValueError for NaN and infinity.
    """
    from markupsafe import Markup

    dumped = json.dumps(_visible(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(dumped.translate(_JSON_ESCAPES))


def _visible(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _visible(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_visible(each) for each in value]
    return for_terminal(value) if isinstance(value, str) else value


def _read(package: str, name: str) -> str:
    return (files(package) / "templates" / name).read_text(encoding="utf-8")


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
