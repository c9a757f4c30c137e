"""The report of the reading experiment: learning curves as SVG, tables as Markdown."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from cases import ABLATION, MAIN
from evaluations import CROPS, Figures, run_folder
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {"receipts": "#4269d0", "forms": "#efb118", "words": "#3ca951", "chinese": "#a463f2"}
TITLES = {
    "receipts": "receipts of other shops",
    "forms": "other forms",
    "words": "words of scenes",
    "chinese": "other Chinese images",
}
BANDS = ("8-12", "12-16", "16-24", "24-48", "48+")  # text heights that are reported, pixels of the input


def write_report(folder: Path, data: dict[str, Any], results: dict[str, list[dict[str, Figures]]]) -> None:
    """Writes reading.json, reading.md and reading.svg. results: figures by case, seed and held-out set."""
    curve = list(learning_curve(folder))
    content = {"data": data, "curve": curve, "results": results}
    (folder / "reading.json").write_text(json.dumps(content, indent=1) + "\n")
    parts = []
    if MAIN.name in results:
        draw(curve, results[MAIN.name][0], folder / "reading.svg")
        parts += [main_table(results[MAIN.name][0]), heights_table(results[MAIN.name][0])]
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
    samples_per_step = None
    for line in map(json.loads, path.read_text().splitlines()):
        if "evaluation" in line:
            samples_per_step = samples_per_step or _batch(folder)
            yield {"samples": (line["step"] + 1) * samples_per_step, "found": line["evaluation"]["ocr"]}


def _batch(folder: Path) -> int:
    config = (run_folder(folder, MAIN, 0) / "config.toml").read_text()
    return int(
        next(line.split("=")[1].split("#")[0] for line in config.splitlines() if line.startswith("global_batch"))
    )


def draw(curve: list[dict[str, Any]], figures: dict[str, Figures], path: Path) -> None:
    """Draws word AUC by samples, from the evaluations during training, and by text height at the end."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    left.set_title("word AUC during training, crops of held-out images", loc="left", fontsize="medium")
    for name, colour in COLOURS.items():
        points = [(at["samples"], at["found"][name]["word_auc"]) for at in curve if name in at["found"]]
        points = [(samples, found) for samples, found in points if found and found["value"] is not None]
        _line(left, [samples for samples, _ in points], [found for _, found in points], colour, TITLES[name])
    left.set_xscale("log")
    left.set_xlabel("samples")
    right.set_title("word AUC by text height after training", loc="left", fontsize="medium")
    for name, colour in COLOURS.items():
        bands = [(band, figures[name]["by_text_height"][band]["word_auc"]) for band in BANDS]
        bands = [(band, found) for band, found in bands if found and found["value"] is not None]
        _line(right, [BANDS.index(band) for band, _ in bands], [found for _, found in bands], colour, TITLES[name])
    right.set_xticks(range(len(BANDS)), BANDS)
    right.set_xlabel("height of the line in pixels of the input")
    for panel in (left, right):
        panel.axhline(0.5, color="#999", linestyle=":")
        panel.grid(axis="y", color="#e5e5e5")
        panel.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False, fontsize="small")
    # Without a date and with constant marker names, the same figures give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "reading", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})


def _line(panel: Axes, x: Sequence[float], found: Sequence[dict[str, float]], colour: str, label: str) -> None:
    panel.plot(x, [each["value"] for each in found], color=colour, marker=".", label=label)
    panel.fill_between(x, [e["low"] for e in found], [e["high"] for e in found], color=colour, alpha=0.15, lw=0)


def main_table(figures: dict[str, Figures]) -> str:
    """Returns the figures of the main run for each held-out set."""
    header = [
        "main run",
        "images",
        "word AUC",
        "words",
        "word mAP",
        "chance",
        "recall@1",
        "constant",
        "recall@10",
        "constant",
    ]
    rows = []
    for name, found in figures.items():
        recalls = [f"{found[key]:.3f}" for k in (1, 10) for key in (f"recall@{k}", f"prior_recall@{k}")]
        auc, word_map = found["word_auc"], found["word_map"]
        measures = [
            interval(auc),
            f"{(auc or {}).get('classes', 0)}",
            interval(word_map),
            f"{(word_map or {}).get('chance') or 0:.3f}",
        ]
        rows.append([_shown(name), f"{found['images']:,}", *measures, *recalls])
    return markdown_table(header, rows)


def heights_table(figures: dict[str, Figures]) -> str:
    """Returns word AUC by text height."""
    rows = [
        [_shown(name), *(interval(found["by_text_height"][band]["word_auc"]) for band in BANDS)]
        for name, found in figures.items()
    ]
    return markdown_table(["word AUC by height of the line, pixels", *BANDS], rows)


def ablation_table(results: dict[str, list[dict[str, Figures]]]) -> str:
    """Returns word AUC and recall@1 of each case, a row for each seed."""
    sets = [name for name in CROPS if name != "chinese"]
    header = ["choice", "chosen", *(f"word AUC, {name}" for name in sets), "recall@1, receipts", "recall@1, words"]
    rows = []
    for case in ABLATION:
        for number, found in enumerate(results.get(case.name, ())):
            seed = f", seed {number}" if len(results[case.name]) > 1 else ""
            aucs = [interval(found[name]["word_auc"]) for name in sets]
            rows.append(
                [
                    case.choice,
                    f"{case.chosen}{seed}",
                    *aucs,
                    *(f"{found[name]['recall@1']:.3f}" for name in ("receipts", "words")),
                ]
            )
    return markdown_table(header, rows)


def _shown(name: str) -> str:
    return f"{TITLES[name]}, {f'{CROPS[name]} crops each' if CROPS[name] else 'whole'}"


def interval(found: dict[str, float] | None) -> str:
    """Returns a value with its interval; a dash if there is none."""
    if not found or found["value"] is None:
        return "-"
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns rows of cells as a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
