"""The learning experiment to look at: curves as SVG, tables as Markdown."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

WIDTH, HEIGHT, MARGIN = 420, 260, 50  # pixels: of a panel, and around it
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
    "exact": "exact: all words",
    "untrained": "untrained backbone, fitted centers",
    "without embedding_norm": "shared, without embedding_norm",
}


class Panel(NamedTuple):
    """A plot of recall@k on a data set by samples; left, top: pixels; samples, recall: the ends of its axes."""

    data: str
    k: int
    left: float
    top: float
    samples: float
    recall: float

    def place(self, samples: float, recall: float) -> tuple[float, float]:
        """Pixels across and down."""
        return self.left + samples / self.samples * WIDTH, self.top + (1 - recall / self.recall) * HEIGHT

    def points(self, places: Sequence[tuple[float, float]]) -> str:
        """Of a line through samples and recalls."""
        return " ".join("{:.1f},{:.1f}".format(*self.place(*place)) for place in places)


def plot(result: dict[str, Any]) -> str:
    """Recall@1 and recall@10 on held-out receipts and held-out pages, by samples."""
    runs, constants = result["runs"], result["constant answers"]
    samples = max(look["samples"] for looks in runs.values() for look in looks)
    marks = list(_legend())
    for row, data in enumerate((RECEIPTS, PAGES)):
        for column, k in enumerate((1, 10)):
            measure = f"recall@{k}"
            found = {
                name: [(look["samples"], look["found"][data][measure]) for look in looks]
                for name, looks in runs.items()
            }
            highest = max(recall for looks in found.values() for _, recall in looks)
            highest = max([highest, *(values[measure] for values in constants[data].values())])
            left, top = MARGIN + column * (WIDTH + MARGIN), 2 * MARGIN + row * (HEIGHT + MARGIN)
            panel = Panel(data, k, left, top, samples, math.ceil(highest * 10) / 10)
            marks += _frame(panel)
            for name, values in constants[data].items():
                ends = panel.points([(0, values[measure]), (samples, values[measure])])
                marks.append(
                    f'<polyline points="{ends}" fill="none" stroke="{CONSTANTS[name]}" stroke-dasharray="2 4"/>'
                )
            for name, places in found.items():
                dashes = ' stroke-dasharray="7 4"' if "," in name else ""
                stroke = f'stroke="{COLOURS[name.partition(",")[0]]}" stroke-width="2"{dashes}'
                marks.append(f'<polyline points="{panel.points(places)}" fill="none" {stroke}/>')
    width, height = 2 * (WIDTH + MARGIN) + MARGIN / 2, 2 * (HEIGHT + MARGIN) + 2 * MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif" '
        f'font-size="12"><rect width="{width:.0f}" height="{height:.0f}" fill="white"/>{"".join(marks)}</svg>\n'
    )


def _frame(panel: Panel) -> Iterator[str]:
    for tenth in range(round(panel.recall * 10) + 1):
        left, y = panel.place(0, tenth / 10)
        yield f'<line x1="{left}" x2="{left + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e5e5e5"/>'
        yield f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tenth / 10:.1f}</text>'
    for part in range(4):
        x, y = panel.place(part / 3 * panel.samples, 0)
        yield f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{part / 3 * panel.samples:,.0f}</text>'
    title = f"recall@{panel.k}, {panel.data.replace('-', ' ')}"
    yield f'<text x="{panel.left}" y="{panel.top - 8}" font-weight="bold">{title}</text>'


def _legend() -> Iterator[str]:
    for number, (name, colour) in enumerate(COLOURS.items()):
        x, y = MARGIN + 290 * (number % 3), 24 + 18 * (number // 3)
        yield f'<rect x="{x}" y="{y - 9}" width="12" height="9" fill="{colour}"/>'
        yield f'<text x="{x + 18}" y="{y}">{_NAMES[name]}</text>'
    yield (
        f'<text x="{MARGIN}" y="62" fill="#555">by samples · dashed: as long as the fastest · '
        "dotted: always the same tags, most frequent in the trained receipts (dark), in these blocks (light)</text>"
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
