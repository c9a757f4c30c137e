"""Draws the figure of README.md: an example page, its tags, and what a trained encoder reads in words of another page.

    make demo
    .venv/bin/pip install -c constraints.txt '.[bench]'
    .venv/bin/python examples/make_figure.py demo/labels 00004.jpg demo/held-out 01003.webp demo/run \\
        --out examples/figure.png

Everything shown comes from the commands `ovocr why` (lines, scores, tags) and `ovocr read` (words, cosines).
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon
from PIL import Image

from ovocr.recordio import RecordReader

INK, GREY, PALE = "#1f2933", "#7b8794", "#d5dbe1"
READ_WORDS, ANSWERS = 6, 2
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


@dataclass(frozen=True)
class ReadWord:
    """A word cut out of a page, and the words that the encoder ranks first for it, with their cosines."""

    word: str
    image: Image.Image
    answers: list[tuple[str, float]]


def read_words(run: Path, labels: Path, key: str) -> list[ReadWord]:
    """Returns what the encoder of `run` reads in words of an image: the first word of its vocabulary in each line."""
    page, traced = stored_image(labels, key)
    found: list[ReadWord] = []
    with tempfile.TemporaryDirectory() as folder:
        for line in traced["lines"]:
            words = [word for word in line["words"] if word["id"] is not None]
            if not words or len(found) == READ_WORDS:
                continue
            file = Path(folder) / f"{line['number']}.png"
            image = cut_word(page, line, words[0])
            image.save(file)
            (answer,) = json.loads(ovocr("read", run, file, "--top-k", ANSWERS, "--json", "-"))
            answers = [(each["word"], each["score"]) for each in answer["words"]]
            found.append(ReadWord(words[0]["word"], image, answers))
    return found


def cut_word(page: Image.Image, line: dict[str, Any], word: dict[str, Any]) -> Image.Image:
    """Returns a word of a line with a margin of a tenth of the line's height."""
    left, top = min(line["box"][0::2]), min(line["box"][1::2])
    width, bottom = max(line["box"][0::2]) - left, max(line["box"][1::2])
    margin = (bottom - top) / 10
    start, end = left + word["start"] * width, left + word["end"] * width
    return page.crop((round(start - margin), round(top - margin), round(end + margin), round(bottom + margin)))


def stored_image(labels: Path, key: str) -> tuple[Image.Image, dict[str, Any]]:
    """Returns an image of a data set, and its lines and tags."""
    traced = trace(labels, key)
    with RecordReader(labels / "rec" / f"{traced['shard']:05d}") as reader:
        return Image.open(io.BytesIO(reader.by_id(traced["record_id"]).image)), traced


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


def draw_read_words(panel: Axes, words: list[ReadWord]) -> None:
    """Draws words of another page, and the answers of the encoder, with a mark if the first one is right."""
    right = sum(each.word == each.answers[0][0] for each in words)
    empty_panel(
        panel, "3  What an encoder reads", f"{right} of {len(words)} words of a page that it was not trained on"
    )
    panel.set(xlim=(0, 100), ylim=(len(words), 0))
    for row, each in enumerate(words):
        shown = panel.inset_axes((0, row + 0.16, 34, 0.68), transform=panel.transData)
        shown.set_axis_off()
        shown.imshow(each.image, cmap="gray", vmin=0, vmax=255, interpolation="lanczos")
        shown.set_anchor("W")
        for place, (word, cosine) in enumerate(each.answers):
            is_right = word == each.word
            shade = colour(2) if is_right else PALE
            height = row + (place + 1) / (len(each.answers) + 1)
            panel.barh(height, 26 * max(0, cosine), left=62, height=0.17, color=shade)
            panel.text(60, height, word, fontsize=10, color=INK if is_right else GREY, va="center", ha="right")
            panel.text(90, height, f"{cosine:.2f}", fontsize=8.5, color=GREY, va="center")
            if is_right:
                panel.text(98.5, height, "✓", fontsize=11, color=shade, va="center", ha="center")


def draw(image: Image.Image, traced: dict[str, Any], words: list[ReadWord]) -> Figure:
    figure = Figure(figsize=(15, 6), facecolor="white")
    draw_image(figure.add_axes((0.02, 0.03, 0.255, 0.83)), image, traced)
    draw_tags(figure.add_axes((0.335, 0.03, 0.3, 0.83)), traced)
    draw_read_words(figure.add_axes((0.7, 0.03, 0.285, 0.83)), words)
    for left in (0.292, 0.657):
        arrow = FancyArrowPatch((left, 0.45), (left + 0.025, 0.45), arrowstyle="simple", mutation_scale=26, color=PALE)
        figure.add_artist(arrow)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labels", type=Path, help="data set of the image to draw: demo/labels")
    parser.add_argument("key", help="key of the image, such as 00004.jpg")
    parser.add_argument("held_out", type=Path, help="data set of the page to read: demo/held-out")
    parser.add_argument("page", help="key of the page, such as 01003.webp")
    parser.add_argument("run", type=Path, help="training run of the demo: demo/run")
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write")
    options = parser.parse_args()
    figure = draw(*stored_image(options.labels, options.key), read_words(options.run, options.held_out, options.page))
    figure.savefig(options.out, dpi=95, metadata={"Software": None})


if __name__ == "__main__":
    main()
