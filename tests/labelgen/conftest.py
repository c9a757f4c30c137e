"""Images, archives and data sets for the tests of label generation."""

import io
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.build import build_labels
from ovocr.labelgen.options import BuildOptions
from ovocr.labelgen.shards.totals import Totals
from ovocr.vocab import Vocabulary

# "violin" and "quartz" are drawn in an image but are not in the vocabulary.
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog", "river", "stone", "garden", "window"]


def draw(text: str, size: tuple[int, int] = (420, 90), color: str = "black", ground: str = "white") -> Image.Image:
    """Returns an image with text that is large enough to be recognised without an error."""
    image = Image.new("RGB", size, ground)
    ImageDraw.Draw(image).text((15, 20), text, fill=color, font=ImageFont.load_default(32))
    return image


def encode(image: Image.Image, format: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture(scope="session")
def drawn() -> Callable[..., Image.Image]:
    return draw


@pytest.fixture(scope="session")
def encoded() -> Callable[..., bytes]:
    return encode


@pytest.fixture(scope="session")
def tar() -> Callable[[Path, list[tuple[str, bytes]]], Path]:
    return write_tar


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vocabulary") / "words.txt"
    Vocabulary(WORDS).save(path)
    return path


@pytest.fixture(scope="session")
def members() -> list[tuple[str, bytes]]:
    """Returns the members of a small archive that has every kind of outcome."""
    fox = encode(draw("the quick brown fox the fox"), quality=90)
    return [
        ("a/fox.jpg", fox),
        ("a/fox.json", b"{}"),
        ("a/blank.png", encode(Image.new("RGB", (80, 60), "white"), "PNG")),
        ("b/many.PNG", encode(draw("river stone garden\nwindow lazy dog", (420, 120)), "PNG")),
        ("b/unknown.png", encode(draw("violin quartz"), "PNG")),
        ("b/cut.jpg", fox[: len(fox) // 2]),
        ("a/fox.jpg", fox),
        ("b/zero.jpg", b""),
    ]


@pytest.fixture(scope="session")
def options(
    tmp_path_factory: pytest.TempPathFactory, vocabulary: Path, members: list[tuple[str, bytes]]
) -> BuildOptions:
    """Returns options for two shards: the small archive, and an archive of a single image. Five slots."""
    folder = tmp_path_factory.mktemp("sources")
    first = write_tar(folder / "first.tar", members)
    second = write_tar(folder / "second.tar", [("fox.jpg", encode(draw("over the lazy fox")))])
    return BuildOptions(
        sources=(str(first), str(second)), out=folder / "out", vocab=str(vocabulary), workers=1, tags=5, seed=7
    )


@pytest.fixture(scope="session")
def built(options: BuildOptions) -> tuple[LabelledDataSet, Totals]:
    """Builds the data set of ``options`` with one worker and the real engine."""
    totals = build_labels(options, progress=False)
    return LabelledDataSet.open(options.out), totals


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Returns the module of worker functions that hang, die or fail. Worker processes import it from the same path."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "workers"))
    import pool_handlers

    yield pool_handlers
    sys.modules.pop("pool_handlers", None)


@pytest.fixture(scope="session")
def overwrite_labels() -> Callable[[LabelledDataSet, int, Sequence[float]], None]:
    """overwrite_labels(data_set, shard, labels) replaces the labels of the first record without any check."""

    def overwrite(data_set: LabelledDataSet, shard: int, labels: Sequence[float]) -> None:
        with open(data_set.rec_prefix(shard).with_suffix(".rec"), "r+b") as file:
            file.seek(8 + 24)  # after the headers of RecordIO and of the image: docs/recordio.md
            file.write(np.asarray(labels, "<f4").tobytes())

    return overwrite
