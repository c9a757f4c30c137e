"""Draws the figure of README.md: one example page, its tags, and the words that a trained encoder reads in it.

    make demo
    .venv/bin/pip install -c constraints.txt '.[bench]'
    .venv/bin/python examples/make_figure.py demo/labels demo/run 00004.jpg --out examples/figure.png

Everything shown comes from the commands `ovocr why` (lines, scores, tags) and `ovocr read` (words, cosines).
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon
from PIL import Image

from ovocr.recordio import RecordReader

INK, GREY, PALE = "#1f2933", "#7b8794", "#d5dbe1"
LINE_COLOURS = ("#1ba3c6", "#e8762d", "#33a65c", "#9467d8", "#e0457b", "#b3982a")


def ovocr(*arguments: object) -> str:
    """Runs one command of ovocr and returns its standard output."""
    command = [sys.executable, "-m", "ovocr", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def trace(labels: Path, key: str) -> dict[str, Any]:
    """Returns the lines and tags of one image, as `ovocr why --json` writes them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "why.json"
        ovocr("why", labels, key, "--json", file)
        return json.loads(file.read_text(encoding="utf-8"))["images"][0]


def read_words(run: Path, encoded: bytes) -> list[tuple[str, float]]:
    """Returns the ten words that the encoder of `run` ranks first for an image, with their cosines."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "image.jpg"
        file.write_bytes(encoded)
        rows = [line.split() for line in ovocr("read", run, file, "--top-k", 10).splitlines()[1:]]
    return [(word, float(cosine)) for cosine, word in rows]


def colour(line: int) -> str:
    return LINE_COLOURS[line % len(LINE_COLOURS)]


def empty_panel(panel: Axes, title: str, subtitle: str) -> None:
    panel.set_axis_off()
    panel.text(0, 1.085, title, transform=panel.transAxes, fontsize=15, fontweight="bold", color=INK)
    panel.text(0, 1.035, subtitle, transform=panel.transAxes, fontsize=10.5, color=GREY)


def draw_image(panel: Axes, image: Image.Image, traced: dict[str, Any]) -> None:
    """Draws the stored image with the box of every line, in the line's colour."""
    empty_panel(panel, "1  An image", f"OCR finds {len(traced['lines'])} lines of text")
    panel.imshow(image, interpolation="lanczos")
    for line in traced["lines"]:
        corners = list(zip(line["box"][0::2], line["box"][1::2], strict=True))
        panel.add_patch(Polygon(corners, closed=True, fill=False, edgecolor=colour(line["number"]), linewidth=2.2))


def draw_tags(panel: Axes, traced: dict[str, Any]) -> None:
    """Draws the tags as labels with their class ids, line by line."""
    slots = traced["slots"]
    empty_panel(panel, "2  Its tags", f"{len(traced['tags'])} class ids fill the {slots} slots of a record")
    panel.set(xlim=(0, 100), ylim=(len(traced["lines"]), 0))
    for line in traced["lines"]:
        top = line["number"]
        panel.text(0, top + 0.16, f"“{line['text']}”", fontsize=10, color=INK, va="center")
        panel.text(100, top + 0.16, f"score {line['score']:.4f}", fontsize=9, color=GREY, va="center", ha="right")
        left = 0.0
        for tag in (tag for tag in traced["tags"] if tag["line"] == line["number"]):
            width = max(2.15 * len(tag["word"]) + 1.5, 12)
            box = FancyBboxPatch(
                (left, top + 0.33),
                width,
                0.42,
                boxstyle="round,pad=0,rounding_size=1.2",
                mutation_aspect=0.025,
                facecolor=colour(line["number"]) + "1f",
                edgecolor=colour(line["number"]),
                clip_on=False,
            )
            panel.add_patch(box)
            middle = left + width / 2
            panel.text(middle, top + 0.46, tag["word"], fontsize=10.5, color=INK, ha="center", va="center")
            panel.text(middle, top + 0.645, tag["id"], fontsize=7.5, color=GREY, ha="center", va="center")
            left += width + 3


def draw_read_words(panel: Axes, traced: dict[str, Any], words: list[tuple[str, float]]) -> None:
    """Draws the words that the encoder ranks first; a word that is a tag has the colour of the tag's line."""
    lines = {tag["word"]: tag["line"] for tag in traced["tags"]}
    right = sum(word in lines for word, _ in words)
    empty_panel(panel, "3  What the encoder reads", f"{right} of its first {len(words)} words are tags of the image")
    panel.set(xlim=(0, 100), ylim=(len(words), 0))
    for row, (word, cosine) in enumerate(words):
        shade = colour(lines[word]) if word in lines else PALE
        panel.text(0, row + 0.5, word, fontsize=11, color=INK if word in lines else GREY, va="center")
        panel.barh(row + 0.5, 52 * cosine, left=30, height=0.5, color=shade)
        panel.text(84.5, row + 0.5, f"{cosine:.3f}", fontsize=9.5, color=GREY, va="center")
        if word in lines:
            panel.text(97, row + 0.5, "✓", fontsize=12, color=shade, va="center", ha="center")


def draw(image: Image.Image, traced: dict[str, Any], words: list[tuple[str, float]]) -> Figure:
    figure = Figure(figsize=(15, 6), facecolor="white")
    draw_image(figure.add_axes((0.02, 0.03, 0.255, 0.83)), image, traced)
    draw_tags(figure.add_axes((0.335, 0.03, 0.3, 0.83)), traced)
    draw_read_words(figure.add_axes((0.7, 0.03, 0.285, 0.83)), traced, words)
    for left in (0.292, 0.657):
        arrow = FancyArrowPatch((left, 0.45), (left + 0.025, 0.45), arrowstyle="simple", mutation_scale=26, color=PALE)
        figure.add_artist(arrow)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labels", type=Path, help="data set of the demo: demo/labels")
    parser.add_argument("run", type=Path, help="training run of the demo: demo/run")
    parser.add_argument("key", help="key of the image to draw, such as 00004.jpg")
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write")
    options = parser.parse_args()
    traced = trace(options.labels, options.key)
    with RecordReader(options.labels / "rec" / f"{traced['shard']:05d}") as reader:
        encoded = reader.by_id(traced["record_id"]).image
    image = Image.open(io.BytesIO(encoded))
    figure = draw(image, traced, read_words(options.run, encoded))
    figure.savefig(options.out, dpi=105, metadata={"Software": None})


if __name__ == "__main__":
    main()
