"""The real images: which are trained on, which are held out, and the human text of the held-out ones.

The folder of the data has the folders receipts (NNN.jpg, text in NNN.txt), more_receipts (NNN.jpg; NNN.json: a list of
{"box", "text"}, one for each line), forms (the same, one for each word), chinese (text in NNN.txt), scenes, words
(words.tsv: file, word) and photos.
"""

import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HELD_OUT_SHARE = 3  # every third shop, form and Chinese image is held out
_IMAGES = (".jpg", ".png")
# Lines at the top of a receipt that tell its shop: at least this many letters, and none of these words.
_TOP_LINES, _LEAST_LETTERS = 3, 8
_SAYS_NOTHING = re.compile("TAX|INVOICE|RECEIPT|CASH|BILL")


@dataclass(frozen=True)
class Documents:
    """A set of images.

    images: paths. groups: the group of each image, such as its shop; images of a group are never in two sets.
    """

    images: list[Path]
    groups: list[str]


def split_documents(data: Path) -> dict[str, Documents]:
    """Returns the sets: receipts, forms, chinese and scenes for training, held-out-receipts, -forms, -chinese, -words.

    Held-out receipts have lines with boxes. Exits with a message if a folder is missing.
    """
    needed = [data / name for name in ("receipts", "more_receipts", "forms", "chinese", "scenes", "words", "photos")]
    if missing := [str(path) for path in needed if not (path.is_dir() and images_in(path))]:
        sys.exit(
            f"{', '.join(missing)}: no folder with .jpg or .png images; benchmarks/reading/documents.py lists them"
        )
    sets: dict[str, Documents] = {}
    receipts = [*images_in(data / "more_receipts"), *images_in(data / "receipts")]
    shops = group_by_shop(receipts)
    with_boxes = [path for path in receipts if path.with_suffix(".json").exists()]
    _split(sets, "receipts", receipts, shops, can_be_held_out=with_boxes)
    for name in ("forms", "chinese"):
        images = images_in(data / name)
        _split(sets, name, images, [path.stem for path in images], can_be_held_out=images)
    scenes, words = images_in(data / "scenes"), images_in(data / "words")
    sets["scenes"] = Documents(scenes, [path.stem for path in scenes])
    sets["held-out-words"] = Documents(words, [path.stem for path in words])
    return sets


def images_in(folder: Path) -> list[Path]:
    """Returns the images of a folder, sorted."""
    return sorted(path for path in folder.iterdir() if path.suffix in _IMAGES)


def group_by_shop(receipts: Sequence[Path]) -> list[str]:
    """Returns the shop of each receipt: receipts with a common line among their first three are of one shop."""
    shops: dict[Path, Path] = {path: path for path in receipts}
    first_with: dict[str, Path] = {}

    def shop_of(path: Path) -> Path:
        while shops[path] != path:
            path = shops[path]
        return path

    for path in receipts:
        for line in human_lines(path)[:_TOP_LINES]:
            letters = re.sub("[^A-Z]", "", line["text"].upper())
            if len(letters) < _LEAST_LETTERS or _SAYS_NOTHING.search(line["text"].upper()):
                continue
            shops[shop_of(path)] = shop_of(first_with.setdefault(letters, path))
    return [f"{shop_of(path).parent.name}/{shop_of(path).stem}" for path in receipts]


def human_lines(image: Path) -> list[dict[str, Any]]:
    """Returns the text of an image as a human read it, with boxes if they are known."""
    boxes = image.with_suffix(".json")
    if boxes.exists():
        return [line for line in json.loads(boxes.read_text(encoding="utf-8")) if line["text"]]
    return [{"text": line} for line in image.with_suffix(".txt").read_text(encoding="utf-8-sig").splitlines()]


def words_of_images(data: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yields file and word of each word image."""
    for row in (data / "words" / "words.tsv").read_text(encoding="utf-8").splitlines():
        name, word = row.split("\t")
        yield name, [{"text": word}]


def _split(
    sets: dict[str, Documents], name: str, images: list[Path], groups: list[str], *, can_be_held_out: list[Path]
) -> None:
    """Adds the training images, and every HELD_OUT_SHARE-th group of the images that can be held out."""
    members: dict[str, list[Path]] = defaultdict(list)
    for path, group in zip(images, groups, strict=True):
        members[group].append(path)
    usable = [group for group, paths in members.items() if set(paths) <= set(can_be_held_out)]
    held_out = set(usable[HELD_OUT_SHARE - 1 :: HELD_OUT_SHARE])
    pairs = list(zip(images, groups, strict=True))
    for key, wanted in ((name, False), (f"held-out-{name}", True)):
        chosen = [pair for pair in pairs if (pair[1] in held_out) == wanted]
        sets[key] = Documents([path for path, _ in chosen], [group for _, group in chosen])
