"""Boxes of words compared with true boxes: from the recogniser's columns, and interpolated along the line.

    python benchmarks/word_boxes.py FOLDER [--engine NAME] [--model-dir DIR] [--limit N] [--draw OUT] [--json FILE]

FOLDER has images NAME.png (or .jpg) and NAME.json, a list of {"box": 8 numbers, "text": a word}. Both ways share one
reading of each image. True words that segmentation changes to several words or to none are left out. A word read and a
true word are a pair if their text is equal after normalisation; in an image with several equal words, pairs are chosen
by overlap. Reports the mean intersection over union (IoU) of upright boxes and the share of pairs above one half. Words
that were not read have no pair: they are a matter of recall.

--draw: write images with the lines (gray), the true boxes (green) and the boxes from columns (red) to a folder.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from ovocr.base.errors import OvocrError
from ovocr.dataset.lines import Box, Line
from ovocr.labelgen.engines.batching import read_lines
from ovocr.labelgen.engines.interface import EngineChoice, Pixels
from ovocr.labelgen.images.stored_image import store_image
from ovocr.labelgen.tagging.word_boxes import LineBoxes
from ovocr.vocab import locate_words, segment

MAX_PIXELS = 50_000_000
ENDINGS = (".png", ".jpg", ".jpeg")
_Words = dict[str, list[Box]]


def true_words(path: Path) -> _Words:
    """Returns the boxes of the true words of an image, by normalised word."""
    words: _Words = defaultdict(list)
    for entry in json.loads(path.read_text(encoding="utf-8")):
        found = segment(entry["text"] or "")
        if len(found) == 1:
            words[found[0]].append(tuple(entry["box"]))
    return words


def read_words(lines: list[Line], width: int, height: int, margin: float) -> _Words:
    """Returns the boxes of the words of the lines, by normalised word. margin: the detector's margin."""
    words: _Words = defaultdict(list)
    boxes = LineBoxes(lines, width, height, margin)
    for word in locate_words([line.text for line in lines]):
        words[word.text].append(boxes.word(word.line, word.start, word.end))
    return words


def overlap(first: Box, second: Box) -> float:
    """Returns the intersection over union of the upright boxes around two boxes."""
    left, top, right, bottom = _bounds(first)
    other_left, other_top, other_right, other_bottom = _bounds(second)
    width, height = min(right, other_right) - max(left, other_left), min(bottom, other_bottom) - max(top, other_top)
    if width <= 0 or height <= 0:
        return 0.0
    areas = (right - left) * (bottom - top) + (other_right - other_left) * (other_bottom - other_top)
    return width * height / (areas - width * height)


def _bounds(box: Box) -> tuple[float, float, float, float]:
    return min(box[::2]), min(box[1::2]), max(box[::2]), max(box[1::2])


def pair_overlaps(read: _Words, true: _Words) -> Iterator[float]:
    """Yields the overlap of each pair of a word read and a true word."""
    for word, boxes in true.items():
        pairs = sorted(
            ((overlap(own, box), i, j) for i, own in enumerate(read.get(word, [])) for j, box in enumerate(boxes)),
            reverse=True,
        )
        taken_read: set[int] = set()
        taken_true: set[int] = set()
        for value, i, j in pairs:
            if i not in taken_read and j not in taken_true:
                taken_read.add(i)
                taken_true.add(j)
                yield value


def draw(pixels: Pixels, lines: list[Line], read: _Words, true: _Words) -> Pixels:
    """Returns the image, twice as large, with the boxes of lines, true words and words read."""
    canvas = cv2.resize(pixels, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    for color, boxes in (
        ((170, 170, 170), [line.box for line in lines]),
        ((0, 150, 0), [box for own in true.values() for box in own]),
        ((0, 0, 220), [box for own in read.values() for box in own]),
    ):
        for box in boxes:
            cv2.polylines(canvas, [(np.array(box).reshape(4, 2) * 2).astype(np.int32)], True, color, 1, cv2.LINE_AA)
    return np.asarray(canvas, np.uint8)


def summarise(name: str, overlaps: list[float]) -> dict[str, Any]:
    """Returns the figures of one way to place words."""
    values = np.array(overlaps)
    return {
        "boxes": name,
        "mean_iou": round(float(values.mean()), 4),
        "over_half": round(float((values > 0.5).mean()), 4),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--engine", default="rapidocr", metavar="NAME")
    parser.add_argument("--model-dir", type=Path, metavar="DIR")
    parser.add_argument("--limit", type=int, metavar="N", help="read only the first N images")
    parser.add_argument("--draw", type=Path, metavar="OUT")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.folder.iterdir() if path.suffix.lower() in ENDINGS)
    paths = [path for path in paths if path.with_suffix(".json").is_file()][: arguments.limit]
    if not paths:
        print(f"error: {arguments.folder}: has no image with true words in NAME.json", file=sys.stderr)
        return 1
    try:
        plan = EngineChoice(arguments.engine, arguments.model_dir).plan()
        engine, margin = plan.load(), plan.describe()["settings"]["box_margin"]
    except OvocrError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    columns, interpolated = [], []
    without = count = 0
    for path in tqdm(paths, unit="image"):
        image = store_image(path.read_bytes(), MAX_PIXELS)
        (lines,) = read_lines(engine, [image.pixels])
        true, read = true_words(path.with_suffix(".json")), read_words(lines, image.width, image.height, margin)
        columns += pair_overlaps(read, true)
        plain = [replace(line, edges=()) for line in lines]
        interpolated += pair_overlaps(read_words(plain, image.width, image.height, margin), true)
        without += sum(not line.edges for line in lines)
        count += len(lines)
        if arguments.draw:
            arguments.draw.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(arguments.draw / f"{path.stem}.png"), draw(image.pixels, lines, read, true))
    report = {
        "engine": arguments.engine,
        "images": len(paths),
        "lines": count,
        "lines_without_columns": without,
        "pairs": len(columns),
        "results": [summarise("interpolated", interpolated), summarise("columns", columns)],
    }
    print("  ".join(f"{name} {value}" for name, value in report.items() if name != "results"))
    for row in report["results"]:
        print(f"  {row['boxes']:<14} mean IoU {row['mean_iou']:.4f}  over one half {row['over_half']:.4f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
