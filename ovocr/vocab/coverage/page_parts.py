"""What the sections of a coverage page are made of."""

from collections.abc import Iterable, Sequence

from ovocr.pages.document import table, text
from ovocr.vocab.coverage.figures import Coverage, ListedWord, share
from ovocr.vocab.coverage.plots import bar
from ovocr.vocab.word_script import script_of

KINDS = ("v1", "v2")
"""Classes of the style sheet: the colours of the first vocabulary and the second."""


def head(name: str, kind: str = "") -> str:
    """A cell of a table's first row. name: HTML. kind: "text" for what is no number."""
    return f'<th scope="col" class="{kind}">{name}</th>' if kind else f'<th scope="col">{name}</th>'


def cells(values: Iterable[str]) -> str:
    """Cells of numbers, or other HTML."""
    return "".join(f"<td>{value}</td>" for value in values)


def row(name: str, rest: str) -> str:
    """A row. name: HTML; rest: its cells."""
    return f'<tr><th scope="row">{name}</th>{rest}</tr>'


def percent(part: int, whole: int) -> str:
    """With one decimal."""
    return f"{share(part, whole):.1%}"


def bar_cell(values: Sequence[float], label: str) -> str:
    """A cell with a bar for each vocabulary."""
    kind = "bars of-two" if len(values) > 1 else "bars"
    return f'<td class="{kind}">{bar(list(zip(KINDS, values, strict=False)), label)}</td>'


def each_head(coverages: Sequence[Coverage], name: str) -> str:
    """A column for each vocabulary, named by it where there are two."""
    if len(coverages) == 1:
        return head(name)
    return "".join(
        f'<th scope="col" class="{kind}">{name}<br>{text(coverage.vocabulary)}</th>'
        for kind, coverage in zip(KINDS, coverages, strict=False)
    )


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """entries: classes of a line or mark, and what it is, in HTML."""
    items = "".join(
        '<li><svg viewBox="0 0 22 10" aria-hidden="true">'
        f'<line class="line {kind}" x1="0" x2="22" y1="5" y2="5"/></svg><span>{name}</span></li>'
        for kind, name in entries
    )
    return f'<ul class="legend">{items}</ul>'


def legend_of(coverages: Sequence[Coverage], *others: tuple[str, str]) -> str:
    """A legend of the vocabularies, and others behind them."""
    own = [(kind, text(coverage.vocabulary)) for kind, coverage in zip(KINDS, coverages, strict=False)]
    return legend([*own, *others])


def details(summary: str, content: str) -> str:
    """What is folded away until it is asked for."""
    return f"<details><summary>{summary}</summary>\n{content}\n</details>"


def tall(content: str, label: str) -> str:
    """A long table in a box of its own, which the keyboard can scroll. label: plain text of this page."""
    opened = f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">'
    return f'<div class="tall">{content.replace(SCROLL, opened, 1)}</div>'


SCROLL = '<div class="scroll">'


def word_table(words: Sequence[ListedWord], *, several_data_sets: bool) -> str:
    """Words with how often they occur, and an image that has them."""
    rows = (
        row(
            text(found.word),
            f'<td class="text">{script_of(found.word)}</td>'
            + cells((f"{found.count:,}", f"{found.images:,}"))
            + (f'<td class="text faint">{text(found.data_set)}</td>' if several_data_sets else "")
            + f'<td class="text faint">{text(found.example)}</td>',
        )
        for found in words
    )
    columns = head("script", "text") + head("times") + head("images")
    columns += (head("data set", "text") if several_data_sets else "") + head("first image", "text")
    return table(head("word") + columns, rows)
