"""Data sets to inspect: one with hostile text in every field, and one with a given number of images per shard."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.lines import Line
from ovocr.dataset.manifest import ShardEntry, TagPolicy
from ovocr.dataset.outcome import Outcome, Place, Status, quarantined
from ovocr.dataset.reasons import Reason
from ovocr.dataset.shard_writer import ShardWriter
from ovocr.labelgen.tagging.line_labeller import LineLabeller
from ovocr.vocab import Vocabulary
from tests.manifests import make_manifest

HOSTILE = (
    "<script>document.title='taken'</script>",
    "</script><script>document.title='taken'</script>",
    "\"><img src=http://127.0.0.1:9/x onerror=document.title='taken'>",
    "' onmouseover='document.title=1' x='",
    "</style><style>@import url(http://127.0.0.1:9/y)</style>",
    "<!--<script>",
    "&lt;b&gt;&amp;\u2028\u2029",
    "\u202egnp.exe",
    "\x1b[31m\x00\x07",
    "javascript:document.title='taken'",
    "<svg onload=document.title='taken'>",
    "]]></article></main>",
)
WORDS = ("script", "document", "title", "img", "alert", "river", "stone", "b")


def jpeg(text: str = "", size: tuple[int, int] = (420, 90)) -> bytes:
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((15, 20), text, fill="black", font=ImageFont.load_default(22))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def start_data_set(root: Path, sources: Sequence[str], *, packed: bool = False) -> LabelledDataSet:
    """Writes the manifest, and the vocabulary of a labelled data set."""
    root.mkdir(parents=True)
    vocabulary = Vocabulary(WORDS)
    data_set = LabelledDataSet(root)
    words = None if packed else vocabulary
    manifest = make_manifest(sources, vocabulary=words, num_classes=9, tags=4, kind="folder", engine=HOSTILE[0])
    manifest.write(data_set.manifest_path)
    if not packed:
        vocabulary.save(data_set.vocabulary_path)
    return data_set


def ok(*texts: str, size: tuple[int, int] = (420, 90), image: bytes | None = None, score: float = 0.9) -> Outcome:
    """Returns an ok image with the tag ``river`` at the start of its first line. The other lines share a box."""
    boxes = [(15.0, 20.0, 405.0, 20.0, 405.0, 46.0, 15.0, 46.0)]
    boxes += [(15.0, 50.0, 405.0, 50.0, 405.0, 76.0, 15.0, 76.0)] * (len(texts) - 1)
    lines = [Line(text, score, box) for text, box in zip(texts, boxes, strict=True)]
    return Outcome(
        status=Status.OK,
        jpeg=jpeg(texts[0], size) if image is None else image,
        width=size[0],
        height=size[1],
        lines=lines,
        words_found=len(lines),
        words_in_vocabulary=1,
        places=[Place(5, 0, (15.0, 20.0, 65.0, 20.0, 65.0, 46.0, 15.0, 46.0))],
        slots=[5, 5, 5, 5],
    )


def write_shard(data_set: LabelledDataSet, number: int, source: str, outcomes: Sequence[tuple[str, Outcome]]) -> None:
    packed = not data_set.vocabulary_path.exists()
    with ShardWriter(data_set, number, ShardEntry(source=source, kind="folder"), with_text=not packed) as writer:
        for key, outcome in outcomes:
            writer.add(key, outcome)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes a data set whose text, keys, source and details are HOSTILE. One image is truncated."""
    root = tmp_path_factory.mktemp("hostile") / "<img src=x onerror=document.title=1>"
    source = str(root.parent / "' onfocus='document.title=1")
    data_set = start_data_set(root, [source])
    images = [(text, ok(f"river {text}", *HOSTILE)) for text in HOSTILE]
    images.append(("a truncated image.jpg", ok("river", image=jpeg("river")[:400])))
    images.append(("two scripts.jpg", ok("river", "不要恐慌", score=0.75)))
    images += [(text, quarantined(Reason.DAMAGED_SOURCE, f"cut: {text}")) for text in HOSTILE]
    images.append((HOSTILE[2], Outcome(status=Status.DROPPED, reason=Reason.NO_TEXT, width=80, height=60)))
    write_shard(data_set, 0, source, images)
    return root


@pytest.fixture
def make_data_set(tmp_path: Path) -> Callable[..., Path]:
    """Returns make(counts, packed=False), which writes a shard for each count of images.

    Keys are SHARD-POSITION.jpg.
    """

    def make(counts: Sequence[int], *, packed: bool = False) -> Path:
        sources = [str(tmp_path / f"source-{number}") for number in range(len(counts))]
        data_set = start_data_set(tmp_path / "labels", sources, packed=packed)
        image = jpeg("river", (64, 32))
        for number, (source, count) in enumerate(zip(sources, counts, strict=True)):
            classes = Outcome(status=Status.OK, jpeg=image, places=[Place(7), Place(2)], slots=[7, 2, 7, 2])
            outcome = classes if packed else ok("river stone", size=(64, 32), image=image)
            write_shard(data_set, number, source, [(f"{number}-{position}.jpg", outcome) for position in range(count)])
        return data_set.root

    return make


@pytest.fixture
def make_lines(tmp_path: Path) -> Callable[[list[str]], Path]:
    """Returns make(texts), which writes a data set of one image with these lines, labelled with WORDS."""

    def make(texts: list[str]) -> Path:
        source = str(tmp_path / "lines.tar")
        data_set = start_data_set(tmp_path / "lines", [source])
        size = (420, 60 * len(texts))
        lines = []
        for number, text in enumerate(texts):
            top, bottom = 60.0 * number + 10, 60.0 * number + 40
            lines.append(Line(text, 0.9, (10.0, top, 410.0, top, 410.0, bottom, 10.0, bottom)))
        labeller = LineLabeller(Vocabulary(WORDS), TagPolicy(tags=4, seed=0))
        outcome = replace(labeller("lines.jpg", *size, lines), jpeg=jpeg(size=size))
        write_shard(data_set, 0, source, [("lines.jpg", outcome)])
        return data_set.root

    return make


@pytest.fixture(scope="session")
def noise() -> np.ndarray:
    """Returns noise, which JPEG cannot compress: uint8 [1500, 2000, 3]."""
    return np.random.default_rng(0).integers(0, 256, (1500, 2000, 3), np.uint8)
