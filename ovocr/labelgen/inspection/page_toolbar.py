"""The filters of an inspection's page: what to find, and which boxes to show."""

from collections import Counter
from collections.abc import Sequence

from ovocr.labelgen.inspection.images import InspectedImage
from ovocr.labelgen.inspection.page_card import scripts_of
from ovocr.pages.document import inner_text

_BOXES = (("tags", "Tags"), ("lines", "Lines"), ("left-out", "Left out"))


def toolbar(images: Sequence[InspectedImage], *, packed: bool) -> str:
    """For where scripts run; without them all pictures are there, with the boxes of their tags."""
    choices = [
        _choice("status", "Status", Counter(image.status.value for image in images)),
        _choice("reason", "Reason", Counter(image.reason for image in images if image.reason)),
        ""
        if packed
        else _choice("script", "Script", Counter(script for image in images for script in scripts_of(image))),
    ]
    return f"""<div class="toolbar panel" role="search" aria-label="Filter the pictures">
<div class="find"><label for="query">Find</label>
<input id="query" type="search" autocomplete="off" autocapitalize="off" spellcheck="false" dir="auto"
placeholder="{"class id or key" if packed else "word, line or key"}" aria-keyshortcuts="/"></div>
{"".join(choices)}{"" if packed else _SCORE}{"" if packed else _boxes()}
<p class="found"><span id="count" role="status">{_number(len(images))}</span>
<button type="button" id="reset" hidden aria-label="show all pictures">all</button></p>
</div>
<noscript><p>Filters, and boxes that light up, need scripts, which are switched off.</p></noscript>
<p id="nothing" hidden>No picture of this page is as the filters say.</p>"""


_SCORE = """<div class="choice"><label for="score">Line score below</label>
<input id="score" type="number" min="0" max="1" step="0.01" inputmode="decimal" placeholder="any"></div>
"""


def keys(*, packed: bool) -> str:
    """What the keyboard does."""
    boxes = "" if packed else "<kbd>b</kbd> boxes, "
    return (
        f'<p class="keys"><kbd>j</kbd> <kbd>k</kbd> next and previous, {boxes}<kbd>/</kbd> find, <kbd>Esc</kbd> all</p>'
    )


def _number(images: int) -> str:
    return f"{images:,} picture{'s' if images != 1 else ''}"


def _choice(name: str, label: str, counts: Counter[str]) -> str:
    """A list to choose from; nothing where there is nothing to choose."""
    if len(counts) < (1 if name == "reason" else 2):
        return ""
    options = "".join(
        f'<option value="{inner_text(value)}">{inner_text(value)} ({number:,})</option>'
        for value, number in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )
    return (
        f'<div class="choice"><label for="{name}">{label}</label>'
        f'<select id="{name}"><option value="">any</option>{options}</select></div>\n'
    )


def _boxes() -> str:
    boxes = "".join(
        f'<label class="switch {name}"><input type="checkbox" id="show-{name}"{" checked" if name == "tags" else ""}>'
        f"<span>{label}</span></label>"
        for name, label in _BOXES
    )
    return f'<fieldset class="boxes"><legend>Boxes</legend>{boxes}</fieldset>\n'
