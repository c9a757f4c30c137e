"""The report of the learning experiment: curves as SVG, tables as Markdown."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {
    "shared": "#4269d0",
    "independent": "#efb118",
    "exact": "#3ca951",
    "untrained": "#9c6b4e",
    "lexicon": "#a463f2",
    "without embedding_norm": "#ff725c",
}
CONSTANTS = {"of the trained receipts": "#777", "of the evaluated blocks": "#bbb"}
RECEIPTS, PAGES = "held-out-receipts", "held-out-pages"
_NAMES = {
    "shared": "shared: one draw of 10%",
    "independent": "independent: eight draws of 10%",
    "exact": "exact: all words",
    "untrained": "untrained backbone, fitted centers",
    "lexicon": "shared, among all 365,187 words",
    "without embedding_norm": "shared, without embedding_norm",
}


def plot(result: dict[str, Any], path: Path) -> None:
    """Plots recall@1 and recall@10 on held-out receipts and held-out pages, by samples."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    panels = figure.subplots(2, 2)
    for row, data in zip(panels, (RECEIPTS, PAGES), strict=True):
        for panel, k in zip(row, (1, 10), strict=True):
            _draw(panel, result, data, f"recall@{k}")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=3, frameon=False, fontsize="small")
    # Without a date and with constant marker names, the same figures give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "learning", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})


def _draw(panel: Axes, result: dict[str, Any], data: str, measure: str) -> None:
    """Draws one measure of every run by samples, means and ranges over seeds, and of constant answers."""
    panel.set_title(f"{measure}, {data.replace('-', ' ')}", loc="left", fontsize="medium")
    for name, values in result["constant answers"][data].items():
        panel.axhline(values[measure], color=CONSTANTS[name], linestyle=":", label=f"constant: most frequent {name}")
    for name, seeds in result["runs"].items():
        kind, _, rest = name.partition(",")
        samples = [checkpoint["samples"] for checkpoint in seeds[0]]
        found = [[checkpoint["found"][data][measure] for checkpoint in checkpoints] for checkpoints in seeds]
        each = list(zip(*found, strict=True))
        mean = [sum(values) / len(values) for values in each]
        style = "--" if rest else "-"
        panel.plot(samples, mean, style, color=COLOURS[kind], marker=".", label=_title(name))
        panel.fill_between(samples, list(map(min, each)), list(map(max, each)), color=COLOURS[kind], alpha=0.2, lw=0)
    panel.set_ylim(bottom=0)
    panel.xaxis.set_major_formatter("{x:,.0f}")
    panel.grid(axis="y", color="#e5e5e5")
    panel.spines[["top", "right"]].set_visible(False)


def tables(result: dict[str, Any]) -> str:
    """Returns the result of each run with both baselines, then recall by a word's frequency in training."""
    ends = {name: [looks[-1] for looks in seeds] for name, seeds in result["runs"].items()}
    rows = []
    for name, values in result["constant answers"][RECEIPTS].items():
        pages = result["constant answers"][PAGES][name]
        rows.append([f"always the most frequent tags {name}", "", "", "", *_cells(values), *_cells(pages)])
    for name, seeds in ends.items():
        found = [cell for data in (RECEIPTS, PAGES) for cell in _cells(*(end["found"][data] for end in seeds))]
        seconds = ", ".join(f"{end['seconds']:,.0f}" for end in seeds)
        rank = ", ".join(f"{end['found'][PAGES]['effective_rank']:.1f}" for end in seeds)
        rows.append([_title(name), f"{seeds[0]['samples']:,}", seconds, rank, *found])
    header = ["mean over seeds (minimum, maximum)", "samples", "seconds", "effective rank (pages)"]
    header += [f"{data} recall@{k}" for data in ("receipts", "pages") for k in (1, 5, 10)]
    return f"{markdown_table(header, rows)}\n\n{_bands(ends)}\n"


def _bands(ends: dict[str, Any]) -> str:
    """Returns recall@10 on held-out receipts for words by the number of training blocks with them."""
    found = {name: [end["found"][RECEIPTS]["bands"] for end in seeds] for name, seeds in ends.items()}
    bands = next(iter(found.values()))[0]
    header = [
        "recall@10 of words, by number of training blocks",
        *(f"{band} ({of['pairs']:,} pairs)" for band, of in bands.items()),
    ]
    rows = [
        [_title(name), *(_cell([of[band]["recall@10"] for of in seeds if band in of]) for band in bands)]
        for name, seeds in found.items()
    ]
    return markdown_table(header, rows)


def _title(name: str) -> str:
    kind, _, rest = name.partition(",")
    return f"{_NAMES[kind]}{',' if rest else ''}{rest}"


def _cells(*found: dict[str, float]) -> list[str]:
    """Returns recall@1, @5 and @10 over seeds."""
    return [_cell([of[f"recall@{k}"] for of in found]) for k in (1, 5, 10)]


def _cell(values: Sequence[float]) -> str:
    """Returns the mean, with the minimum and maximum if there are several values; empty without values."""
    if not values:
        return ""
    mean = f"{sum(values) / len(values):.3f}"
    return f"{mean} ({min(values):.3f}, {max(values):.3f})" if len(values) > 1 else mean


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns rows of cells as a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
