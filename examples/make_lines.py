"""Makes a table for `ovocr build-labels --lines` from text files beside images, or from a list of files and words.

    python examples/make_lines.py IMAGES --out lines.jsonl
    ovocr build-labels IMAGES --lines lines.jsonl --out labels

IMAGES is a folder. The lines of NAME.jpg (or another image) are in NAME.json, a list of {"box": ..., "text": ...}, or
in NAME.txt, one per line. Instead, the first argument may be a .tsv without a header: each row has a file in the folder
of the images and a text in it. The table has one row per image: key, lines.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}


def lines_of_folder(folder: Path) -> Iterator[tuple[str, list[Any]]]:
    """Yields key and lines of each image that has a text file. A key is the path inside the folder."""
    for image in sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGES):
        boxes, text = image.with_suffix(".json"), image.with_suffix(".txt")
        if boxes.is_file():
            yield image.relative_to(folder).as_posix(), json.loads(boxes.read_text(encoding="utf-8"))
        elif text.is_file():
            yield image.relative_to(folder).as_posix(), text.read_text(encoding="utf-8-sig").splitlines()


def lines_of_list(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yields key and texts of each file in a .tsv. Its rows are not quoted."""
    texts: dict[str, list[str]] = defaultdict(list)
    for number, row in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        key, tab, text = row.rstrip("\r").partition("\t")
        if row and not tab:
            raise SystemExit(f"{path}: line {number}: no tab between file and text")
        if row:
            texts[key].append(text)
    yield from texts.items()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="folder of images and text files, or a .tsv of file and text")
    parser.add_argument("--out", type=Path, required=True, help="table to write, .jsonl")
    options = parser.parse_args()
    table = lines_of_folder(options.images) if options.images.is_dir() else lines_of_list(options.images)
    rows = [{"key": key, "lines": lines} for key, lines in table]
    if not rows:
        raise SystemExit(f"{options.images}: no image has a text file")
    options.out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"{options.out}: {len(rows)} images, {sum(len(row['lines']) for row in rows)} lines")


if __name__ == "__main__":
    main()
