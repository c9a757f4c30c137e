"""The data of the reading experiment: documents, labels by OCR, tiles for training, held-out documents with human text.

FOLDER/documents/*        links to the images of each set, and rendered pages and scenes (*.tar)
FOLDER/labels/*           the training documents as `ovocr build-labels` labelled them
FOLDER/tiles/*            the same and distorted copies, cut into tiles
FOLDER/tile-labels/*      the tiles' data sets, with the words of the lexicon
FOLDER/words.txt          the vocabulary: frequent words of the training documents
FOLDER/trained/*          the tiles' data sets, with this vocabulary
FOLDER/held-out/*         held-out documents with human text, in this vocabulary; groups.csv: the group of each image
"""

import csv
import io
import json
import random
import string
import tarfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from commands import run_ovocr
from documents import Documents, human_lines, images_in, split_documents, words_of_images
from human_words import place_words
from page_text import PageText
from PIL import Image
from render_pages import render_page
from render_scenes import render_scene
from tiles import cut_tiles

from ovocr.base.files import write_text, written_aside
from ovocr.dataset.layout import LabelledDataSet
from ovocr.vocab import Vocabulary

IMAGES_IN_SHARD = 100
LEAST_COUNT = 45  # occurrences of a word of the vocabulary in the documents
REAL, RENDERED = ("receipts", "forms", "scenes", "chinese"), ("pages", "rendered-scenes")
TRAINED_ON = (*REAL, *RENDERED)
# Distorted copies of each document: more of the real ones, which are few.
COPIES = dict.fromkeys(REAL, 4) | dict.fromkeys(RENDERED, 1)
HELD_OUT = ("receipts", "forms", "words", "chinese")


def make_data(folder: Path, data: Path, pages: int, scenes: int) -> dict[str, Any]:
    """Creates what is missing and returns counts, for the report.

    data: the folder of the real images. pages, scenes: numbers of rendered images.
    """
    report_path = folder / "data.json"
    if report_path.exists():  # written last
        found: dict[str, Any] = json.loads(report_path.read_text())
        return found
    sets = split_documents(data)
    folder.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"documents": {name: len(found.images) for name, found in sets.items()}}
    for name in REAL:
        link_images(folder / "documents" / name, sets[name])
        run_ovocr("build-labels", f"documents/{name}", "--out", f"labels/{name}", cwd=folder)
    text = PageText.of(line for name in REAL for line in read_lines(folder / "labels" / name))
    report["phrases"], report["words"] = len(text.phrases), len(text.words)
    draw_scene = partial(render_scene, text=text, photos=images_in(data / "photos"))
    for name, count, draw in (
        ("pages", pages, partial(render_page, text=text)),
        ("rendered-scenes", scenes, draw_scene),
    ):
        render(folder / "documents" / name, count, draw)
        run_ovocr("build-labels", f"documents/{name}/*.tar", "--out", f"labels/{name}", cwd=folder)
    with ProcessPoolExecutor() as pool:
        report["tiles"] = dict(zip(TRAINED_ON, pool.map(partial(cut, folder), TRAINED_ON), strict=True))
    for name in TRAINED_ON:
        table = f"tiles/{name}.jsonl"
        run_ovocr("build-labels", f"tiles/{name}.tar", "--lines", table, "--out", f"tile-labels/{name}", cwd=folder)
    build_vocabulary(folder)
    report["vocabulary"] = len(Vocabulary.load(folder / "words.txt"))
    for name in TRAINED_ON:
        run_ovocr("relabel", f"tile-labels/{name}", "--vocab", "words.txt", "--out", f"trained/{name}", cwd=folder)
    report["placed"] = hold_out(folder, data, sets)
    write_text(report_path, json.dumps(report, indent=1) + "\n")
    return report


def cut(folder: Path, name: str) -> dict[str, int]:
    """Cuts the training documents of a set into tiles; returns counts."""
    return cut_tiles(folder / "labels" / name, folder / "tiles" / name, COPIES[name])


def link_images(folder: Path, documents: Documents) -> None:
    """Creates links to the images, named by their folder and name, which together are unique."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in documents.images:
        link = folder / key_of(path)
        if not link.is_symlink():
            link.symlink_to(path.resolve())


def key_of(image: Path) -> str:
    """Returns the name of an image in its set."""
    return f"{image.parent.name}-{image.name}"


def read_lines(labels: Path) -> list[str]:
    """Returns the text of all lines that OCR read in a data set."""
    data_set = LabelledDataSet.open(labels)
    tables = [
        pq.read_table(data_set.ocr_path(shard), columns=["lines"]) for shard in sorted(data_set.finished_shards())
    ]
    return [line["text"] for table in tables for row in table.to_pylist() for line in row["lines"]]


def render(folder: Path, count: int, draw: Callable[[int], Image.Image]) -> None:
    """Renders images as JPEGs of varying quality, in shards."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [
        (path, range(first, min(first + IMAGES_IN_SHARD, count)))
        for first in range(0, count, IMAGES_IN_SHARD)
        if not (path := folder / f"{first:06d}.tar").exists()
    ]
    with ProcessPoolExecutor() as pool:
        list(pool.map(partial(_write_shard, draw=draw), *zip(*missing, strict=True)) if missing else ())


def _write_shard(path: Path, numbers: range, draw: Callable[[int], Image.Image]) -> None:
    with written_aside(path) as unfinished, tarfile.open(unfinished, "w") as archive:
        for number in numbers:
            buffer = io.BytesIO()
            draw(number).save(buffer, "JPEG", quality=random.Random(number).randint(55, 92))
            member = tarfile.TarInfo(f"{number:06d}.jpg")
            member.size = len(buffer.getvalue())
            buffer.seek(0)
            archive.addfile(member, buffer)


def build_vocabulary(folder: Path) -> None:
    """Builds the vocabulary of the words in the training documents, without single Latin letters."""
    if (folder / "words.txt").exists():
        return
    (folder / "letters.txt").write_text("\n".join(string.ascii_lowercase) + "\n")
    every = [f"labels/{name}" for name in TRAINED_ON]
    options = ["--min-count", str(LEAST_COUNT), "--drop", "letters.txt", "--out", "words.txt"]
    run_ovocr("vocab", "build", *every, *options, cwd=folder)


def hold_out(folder: Path, data: Path, sets: dict[str, Documents]) -> dict[str, dict[str, int]]:
    """Labels the held-out images with human text. Returns, for each set, how many words OCR placed."""
    placed: dict[str, dict[str, int]] = {}
    (folder / "held-out").mkdir(exist_ok=True)
    for name in HELD_OUT:
        documents = sets[f"held-out-{name}"]
        source = folder / "documents" / f"held-out-{name}"
        link_images(source, documents)
        if name == "words":
            rows = {key_of(data / "words" / file): lines for file, lines in words_of_images(data)}
        else:
            run_ovocr("build-labels", f"documents/held-out-{name}", "--out", f"labels/held-out-{name}", cwd=folder)
            human = {key_of(path): human_lines(path) for path in documents.images}
            rows, placed[name] = place_words(folder / "labels" / f"held-out-{name}", human)
        table = folder / "held-out" / f"{name}.jsonl"
        table.write_text("".join(json.dumps({"key": key, "lines": lines}) + "\n" for key, lines in rows.items()))
        shown = (f"documents/held-out-{name}", "--lines", f"held-out/{name}.jsonl", "--vocab", "words.txt")
        run_ovocr("build-labels", *shown, "--out", f"held-out/{name}", cwd=folder)
    with open(folder / "held-out" / "groups.csv", "w", newline="", encoding="utf-8") as table_file:
        writer = csv.writer(table_file)
        writer.writerow(["key", "group"])
        for name in HELD_OUT:
            documents = sets[f"held-out-{name}"]
            writer.writerows(zip(map(key_of, documents.images), documents.groups, strict=True))
    return placed
