"""A data set with text from a table, of sources of four kinds, that the tests divide."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.build import build_labels
from ovocr.labelgen.options import BuildOptions
from ovocr.vocab import Vocabulary

WORDS = [f"{a}{b}lm" for a in "bcdfg" for b in "aeiou"]
# Words that only OTHER has; images with these words alone are dropped at first.
RARE = ["violin", "quartz"]


def noise(number: int) -> bytes:
    """Returns a PNG that differs from that of any other number."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (32, 48, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def text_of(number: int) -> str:
    """Returns the text of an image; every fifth has rare words only."""
    if number % 5 == 0:
        return " ".join(RARE)
    return " ".join(WORDS[(number * 7 + step * step) % len(WORDS)] for step in range(4))


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory, tar: Callable[..., Path]) -> BuildOptions:
    """Returns options with sources of four kinds, 98 images. Every seventh image is damaged, every ninth has no row."""
    folder = tmp_path_factory.mktemp("sources")
    number = 0
    lines: list[dict[str, str]] = []

    def image(key: str) -> bytes:
        nonlocal number
        number += 1
        if number % 9:
            lines.append({"key": key, "text": text_of(number)})
        return b"none" if number % 7 == 0 else noise(number)

    for name in ("a.tar", "b.tar"):
        keys = [f"{name[0]}{doc}/{page}.png" for doc in range(6) for page in range(4)]
        # A key that occurs again is another image of the source.
        members = [(key, image(key)) for key in [*keys, keys[1], keys[7]]]
        tar(folder / name, [*members, ("note.txt", b"text")])
    (folder / "files").mkdir()
    for file in range(23):
        (folder / "files" / f"{file:02d}.png").write_bytes(image(f"{file:02d}.png"))
    cells = [{"bytes": image(f"p{row}"), "path": None} for row in range(23)]
    column = pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    pq.write_table(pa.table({"image": column, "key": [f"p{row}" for row in range(23)]}), folder / "t.parquet")
    (folder / "lines.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    Vocabulary(WORDS).save(folder / "words.txt")
    Vocabulary([*RARE, *WORDS]).save(folder / "other.txt")
    return BuildOptions(
        sources=tuple(str(folder / name) for name in ("a.tar", "b.tar", "files", "t.parquet")),
        out=folder / "whole",
        vocab=str(folder / "words.txt"),
        lines=str(folder / "lines.jsonl"),
        workers=1,
        tags=6,
        shard_size=9,
    )


@pytest.fixture(scope="module")
def whole(options: BuildOptions) -> LabelledDataSet:
    build_labels(options, progress=False)
    return LabelledDataSet.open(Path(options.out))


@pytest.fixture(scope="module")
def other(options: BuildOptions) -> str:
    return str(Path(options.out).parent / "other.txt")
