"""The report of the reading experiment: learning curves as SVG, tables as Markdown."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from cases import ABLATION, BATCH, MAIN
from evaluations import SETS, Figures, run_folder
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# By data set; crops with all their surroundings are dashed.
COLOURS = {"receipts": "#4269d0", "forms": "#efb118", "words": "#3ca951", "chinese": "#a463f2"}
TITLES = {shown.name: shown.title for shown in SETS}
RECALLS = ("receipts-words", "words")
LISTED = 12  # words read best, and worst, of each held-out set
BANDS = ("8-12", "12-16", "16-24", "24-48", "48+")  # text heights that are reported, pixels of the input


def write_report(folder: Path, data: dict[str, Any], results: dict[str, list[dict[str, Figures]]]) -> None:
    """Writes reading.json, reading.md and reading.svg. results: figures by case, seed and held-out set."""
    curve = list(learning_curve(folder))
    content = {"data": data, "curve": curve, "results": results}
    (folder / "reading.json").write_text(json.dumps(content, indent=1) + "\n")
    parts = []
    if MAIN.name in results:
        draw(curve, results[MAIN.name][0], folder / "reading.svg")
        parts += [
            main_table(results[MAIN.name][0]),
            heights_table(results[MAIN.name][0]),
            words_table(results[MAIN.name][0]),
        ]
    if any(case.name in results for case in ABLATION):
        parts.append(ablation_table(results))
    text = "\n\n".join(parts) + "\n"
    (folder / "reading.md").write_text(text)
    print(text)


def learning_curve(folder: Path) -> Iterator[dict[str, Any]]:
    """Yields the evaluations of the main run: samples, and the figures by held-out set."""
    path = run_folder(folder, MAIN, 0) / "metrics.jsonl"
    if not path.exists():
        return
    for line in map(json.loads, path.read_text().splitlines()):
        if "evaluation" in line:
            yield {"samples": (line["step"] + 1) * BATCH, "found": line["evaluation"]["ocr"]}


def draw(curve: list[dict[str, Any]], figures: dict[str, Figures], path: Path) -> None:
    """Draws word AUC by samples, from the evaluations during training, and by text height at the end."""
    figure = Figure(figsize=(12, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    left.set_title("word AUC during training", loc="left", fontsize="medium")
    for data, colour in COLOURS.items():
        found = [(at["samples"], at["found"][data]["word_auc"]) for at in curve]
        shown = next(each for each in SETS if each.data == data)
        _line(left, [(samples, value) for samples, value in found if value["value"] is not None], colour, shown.title)
    left.set_xscale("log")
    left.set_xlabel("samples")
    right.set_title("word AUC by text height after training", loc="left", fontsize="medium")
    for shown in SETS:
        bands = [figures[shown.name]["by_text_height"][band]["word_auc"] for band in BANDS]
        points = [(number, value) for number, value in enumerate(bands) if value and value["value"] is not None]
        _line(right, points, COLOURS[shown.data], shown.title, "--" if shown.context == 1 else "-")
    right.set_xticks(range(len(BANDS)), BANDS)
    right.set_xlabel("height of the line, pixels of the input")
    for panel in (left, right):
        panel.axhline(0.5, color="#999", linestyle=":")
        panel.grid(axis="y", color="#e5e5e5")
        panel.spines[["top", "right"]].set_visible(False)
    right.legend(frameon=False, fontsize="small", loc="lower right")
    # Without a date and with constant marker names, the same figures give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "reading", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})


def _line(
    panel: Axes, points: Sequence[tuple[float, dict[str, float]]], colour: str, label: str, style: str = "-"
) -> None:
    """Draws values with their intervals."""
    x, found = [x for x, _ in points], [value for _, value in points]
    panel.plot(x, [each["value"] for each in found], style, color=colour, marker=".", label=label)
    low, high = ([each[end] for each in found] for end in ("low", "high"))
    panel.fill_between(x, low, high, color=colour, alpha=0.12, lw=0)


def main_table(figures: dict[str, Figures]) -> str:
    """Returns the figures of the main run for each held-out set."""
    header = ["main run", "samples", "word AUC", "words", "word mAP", "chance"]
    header += [f"{name}@{k}" for k in (1, 10) for name in ("recall", "constant")]
    rows = []
    for name, found in figures.items():
        auc, word_map = found["word_auc"], found["word_map"]
        row = [TITLES[name], f"{found['images']:,}", interval(auc), f"{auc['classes']}"]
        row += [interval(word_map), "-" if word_map["chance"] is None else f"{word_map['chance']:.3f}"]
        rows.append([*row, *(f"{found[key]:.3f}" for k in (1, 10) for key in (f"recall@{k}", f"prior_recall@{k}"))])
    return markdown_table(header, rows)


def heights_table(figures: dict[str, Figures]) -> str:
    """Returns word AUC by text height."""
    rows = [
        [TITLES[name], *(interval(found["by_text_height"][band]["word_auc"]) for band in BANDS)]
        for name, found in figures.items()
    ]
    return markdown_table(["word AUC by height of the line, pixels", *BANDS], rows)


def words_table(figures: dict[str, Figures]) -> str:
    """Returns the words that are read best and worst, with their AUC and number of samples."""
    rows = []
    for name, found in figures.items():
        shown = [f"{each['word']} {each['auc']:.2f} ({each['images']})" for each in found["words"]]
        count = min(LISTED, len(shown) // 2)
        rows.append([TITLES[name], ", ".join(shown[:count]), ", ".join(shown[len(shown) - count :][::-1])])
    return markdown_table(["word, AUC (samples with it)", "read best", "read worst"], rows)


def ablation_table(results: dict[str, list[dict[str, Figures]]]) -> str:
    """Returns word AUC and recall@1 of each case, a row for each seed."""
    names = [shown.name for shown in SETS if shown.in_ablation]
    header = [
        "choice",
        "chosen",
        *(f"word AUC, {TITLES[name]}" for name in names),
        *(f"recall@1, {TITLES[name]}" for name in RECALLS),
    ]
    rows = []
    for case in ABLATION:
        for number, found in enumerate(results.get(case.name, ())):
            seed = f", seed {number}" if len(results[case.name]) > 1 else ""
            aucs = [interval(found[name]["word_auc"]) for name in names]
            recalls = [f"{found[name]['recall@1']:.3f}" for name in RECALLS]
            rows.append([case.choice, f"{case.chosen}{seed}", *aucs, *recalls])
    return markdown_table(header, rows)


def interval(found: dict[str, float] | None) -> str:
    """Returns a value with its interval; a dash if there is none."""
    if not found or found["value"] is None:
        return "-"
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns rows of cells as a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
