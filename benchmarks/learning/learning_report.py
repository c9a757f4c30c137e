"""The learning experiment to look at: curves as SVG, tables as Markdown."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

WIDTH, HEIGHT, MARGIN, GAP = 940, 440, 52, 60
COLOURS = {
    "shared": "#4269d0",
    "independent": "#efb118",
    "exact": "#3ca951",
    "untrained": "#9c6b4e",
    "without embedding_norm": "#ff725c",
}
CONSTANTS = {"of the trained receipts": "#777", "of the evaluated blocks": "#bbb"}
RECEIPTS, PAGES = "held-out-receipts", "held-out-pages"
_NAMES = {
    "shared": "shared: one draw of 10%",
    "independent": "independent: eight draws of 10%",
    "exact": "exact: all 365,187 words",
    "untrained": "untrained backbone, fitted centers",
    "without embedding_norm": "shared, without embedding_norm",
}


class Panel(NamedTuple):
    """A plot: pixels from the left, what is across, and the largest value of it."""

    left: float
    title: str
    largest: float
    width: float = (WIDTH - 2 * MARGIN - GAP) / 2

    def place(self, across: float, recall: float, top: float) -> str:
        x = self.left + across / self.largest * self.width
        return f"{x:.1f},{HEIGHT - MARGIN - recall / top * (HEIGHT - 2 * MARGIN - 50):.1f}"


def plot(result: dict[str, Any]) -> str:
    """Recall@10 on held-out receipts, by samples and by seconds of training."""
    runs = result["runs"]
    constants = {name: values["recall@10"] for name, values in result["constant answers"][RECEIPTS].items()}
    highest = max([_recall(look) for looks in runs.values() for look in looks] + list(constants.values()))
    top = math.ceil(highest * 10) / 10
    panels = {
        "samples": Panel(MARGIN, "samples", max(look["samples"] for looks in runs.values() for look in looks)),
        "seconds": Panel(
            MARGIN + GAP + (WIDTH - 2 * MARGIN - GAP) / 2,
            "seconds of training",
            max(look["seconds"] for looks in runs.values() for look in looks),
        ),
    }
    marks = [f'<text x="{MARGIN}" y="16">recall@10 on the lines of real receipts of shops never trained on</text>']
    for key, panel in panels.items():
        marks += _frame(panel, top)
        for name, value in constants.items():
            ends = " ".join(panel.place(across, value, top) for across in (0, panel.largest))
            marks.append(f'<polyline points="{ends}" fill="none" stroke="{CONSTANTS[name]}" stroke-dasharray="2 4"/>')
        for name, looks in runs.items():
            points = " ".join(panel.place(look[key], _recall(look), top) for look in looks)
            dashes = ' stroke-dasharray="7 4"' if "equal time" in name else ""
            colour = COLOURS[name.partition(",")[0]]
            marks.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
    marks += _legend()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>{"".join(marks)}</svg>\n'
    )


def _frame(panel: Panel, top: float) -> Iterator[str]:
    bottom = HEIGHT - MARGIN
    for tenth in range(round(top * 10) + 1):
        y = float(panel.place(0, tenth / 10, top).partition(",")[2])
        yield f'<line x1="{panel.left}" x2="{panel.left + panel.width}" y1="{y}" y2="{y}" stroke="#e5e5e5"/>'
        yield f'<text x="{panel.left - 6}" y="{y + 4}" text-anchor="end">{tenth / 10:.1f}</text>'
    for part in range(5):
        x = panel.left + part / 4 * panel.width
        yield f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{part / 4 * panel.largest:,.0f}</text>'
    yield f'<text x="{panel.left + panel.width / 2}" y="{bottom + 38}" text-anchor="middle">{panel.title}</text>'


def _legend() -> Iterator[str]:
    for number, (name, colour) in enumerate(COLOURS.items()):
        x, y = MARGIN + 290 * (number % 3), 36 + 18 * (number // 3)
        yield f'<rect x="{x}" y="{y - 9}" width="12" height="9" fill="{colour}"/>'
        yield f'<text x="{x + 18}" y="{y}">{_NAMES[name]}</text>'
    yield (
        f'<text x="{MARGIN}" y="72" fill="#555">dashed: as long as the fastest, with a schedule of its own · '
        "dotted: always the same ten words, most frequent in the trained receipts (dark), in these lines (light)</text>"
    )


def tables(result: dict[str, Any]) -> str:
    """What came of each run, beside both baselines; then recall by how often a word was trained on."""
    rows = []
    for name, values in result["constant answers"][RECEIPTS].items():
        pages = result["constant answers"][PAGES][name]
        rows.append([f"always the most frequent tags {name}", "", "", *_cells(values), *_cells(pages)])
    for name, looks in result["runs"].items():
        last = looks[-1]
        found = [cell for data in (RECEIPTS, PAGES) for cell in _cells(last["found"][data])]
        rows.append([_title(name), f"{last['samples']:,}", f"{last['seconds']:,.0f}", *found])
    header = ["", "samples", "seconds"]
    header += [f"{data} recall@{k}" for data in ("receipts", "pages") for k in (1, 5, 10)]
    bands = _bands(result["runs"])
    return f"{_table(header, rows)}\n\n{bands}\n"


def _bands(runs: dict[str, Any]) -> str:
    """Recall@10 on held-out receipts of words by the number of training blocks that have them."""
    found = {name: looks[-1]["found"][RECEIPTS]["bands"] for name, looks in runs.items()}
    bands = list(next(iter(found.values())))
    pairs = next(iter(found.values()))
    header = ["words in so many training blocks", *(f"{band} ({pairs[band]['pairs']:,} pairs)" for band in bands)]
    rows = [[_title(name), *(f"{of[band]['recall@10']:.3f}" for band in bands)] for name, of in found.items()]
    return _table(header, rows)


def _title(name: str) -> str:
    kind, _, rest = name.partition(",")
    return f"{_NAMES[kind]}{',' if rest else ''}{rest}"


def _cells(found: dict[str, float]) -> list[str]:
    return [f"{found[f'recall@{k}']:.3f}" for k in (1, 5, 10)]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _recall(look: dict[str, Any]) -> float:
    return look["found"][RECEIPTS]["recall@10"]
