"""RapidOCR as an engine: what it reads, what it needs, and that it asks nobody."""

import socket
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovocr.errors import MissingExtraError, OvocrError, UsageError
from ovocr.labelgen.engine import Engine, EngineChoice, EngineError, Pixels
from ovocr.labelgen.rapidocr_engine import RapidOcrPlan
from ovocr.labelgen.reading import read_pictures

Draw = Callable[..., Image.Image]


def pixels(image: Image.Image) -> Pixels:
    return np.ascontiguousarray(np.asarray(image)[:, :, ::-1])


@pytest.fixture(scope="module")
def engine() -> Engine:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _refuse)
        patch.setattr(socket, "getaddrinfo", _refuse)
        return EngineChoice("rapidocr").plan().load()


def _refuse(*_: object) -> None:
    raise AssertionError("an engine must not use the network")


def test_reads_lines_with_scores_and_boxes(engine: Engine, drawn: Draw, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket.socket, "connect", _refuse)
    ((first, second),) = read_pictures(engine, [pixels(drawn("the quick brown fox\nover the river", (420, 120)))])
    assert (first.text, second.text) == ("the quick brown fox", "over the river")
    assert 0.5 <= first.score <= 1
    assert first.score == round(first.score, 4)
    x1, y1, x2, _, x3, y3, _, y4 = first.box
    # The text was drawn from (15, 20) on, 32 pixels high and about 300 long.
    assert 0 <= x1 <= 20
    assert 280 <= x2 <= 345
    assert 10 <= y1 <= 30
    assert 45 <= y4 <= 65
    assert (x3, y3) == (x2, y4)
    assert second.box[1] > y1 + 20


def test_pictures_in_a_batch_do_not_change_each_other(engine: Engine, drawn: Draw):
    pictures = [pixels(drawn("quick fox")), pixels(drawn("over the lazy dog and the river", (560, 90))), blank(50, 50)]
    alone = [read_pictures(engine, [picture])[0] for picture in pictures]
    assert read_pictures(engine, pictures) == alone
    assert read_pictures(engine, pictures[::-1]) == alone[::-1]
    assert [len(lines) for lines in alone] == [1, 1, 0]


def test_real_pictures_read_together_are_read_as_alone(engine: Engine, shared_data: Path):
    files = sorted(path for path in (shared_data / "web").iterdir() if path.suffix in (".jpg", ".png"))[:8]
    pictures = [pixels(Image.open(path).convert("RGB")) for path in files]
    alone = [read_pictures(engine, [picture])[0] for picture in pictures]
    assert sum(map(len, alone)) > 20
    assert read_pictures(engine, pictures) == alone
    assert read_pictures(engine, pictures[::-1]) == alone[::-1]


def blank(width: int, height: int) -> Pixels:
    return np.full((height, width, 3), 255, np.uint8)


@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (100, 1), (1, 100), (2000, 20), (20, 2000), (30_000, 300), (300, 30_000), (31, 29)]
)
def test_a_blank_picture_of_any_shape_has_no_lines(engine: Engine, width: int, height: int):
    assert read_pictures(engine, [blank(width, height)]) == [[]]


def test_no_pictures(engine: Engine):
    assert read_pictures(engine, []) == []


def test_an_engine_that_fails_says_so(engine: Engine):
    with pytest.raises(EngineError, match="^detection: "):
        engine.prepare(np.zeros((0, 0, 3), np.uint8))


def test_an_unknown_engine():
    with pytest.raises(UsageError, match="--engine tesseract: there is rapidocr, paddleocr"):
        EngineChoice("tesseract").plan()


@pytest.mark.parametrize("package", ["rapidocr", "onnxruntime"])
def test_a_missing_package_names_the_command(package: str, monkeypatch: pytest.MonkeyPatch):
    from importlib.util import find_spec

    monkeypatch.setattr(
        "ovocr.labelgen.rapidocr_engine.find_spec", lambda name: None if name == package else find_spec(name)
    )
    with pytest.raises(MissingExtraError, match=r"pip install 'ovocr\[ocr\]'"):
        EngineChoice("rapidocr").plan()


def test_an_installation_with_a_part_missing_is_one_line(monkeypatch: pytest.MonkeyPatch):
    # As `pip install --no-deps rapidocr` leaves it.
    monkeypatch.setitem(sys.modules, "omegaconf", None)
    with pytest.raises(OvocrError, match=r"cannot be imported \(.*omegaconf.*\); pip install 'ovocr\[ocr\]'"):
        EngineChoice("rapidocr").plan().load()


def bundled() -> RapidOcrPlan:
    plan = EngineChoice("rapidocr").plan()
    assert isinstance(plan, RapidOcrPlan)
    return plan


def test_models_of_ones_own(tmp_path: Path):
    for part, path in (("det", bundled().det), ("rec", bundled().rec)):
        (tmp_path / part).mkdir()
        (tmp_path / part / "inference.onnx").symlink_to(path)
    own = EngineChoice("rapidocr", tmp_path).plan().describe()
    assert own == bundled().describe()
    assert set(own["models"]) == {"det", "rec"}
    assert all(len(digest) == 64 for digest in own["models"].values())


def test_a_model_folder_without_models_fails_at_once(tmp_path: Path):
    (tmp_path / "det").mkdir()
    with pytest.raises(UsageError, match=r"--model-dir: .*det must hold one \.onnx file, there are 0"):
        EngineChoice("rapidocr", tmp_path).plan()


def test_models_that_are_none(tmp_path: Path):
    for part in ("det", "rec"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "x.onnx").write_bytes(b"no model")
    with pytest.raises(UsageError, match=r"det/x\.onnx: no ONNX model"):
        EngineChoice("rapidocr", tmp_path).plan().load()


def test_a_recogniser_without_characters_is_not_sent_looking_for_them(tmp_path: Path):
    detector = bundled().det
    for part in ("det", "rec"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "x.onnx").symlink_to(detector)
    with pytest.raises(UsageError, match=r"rec/x\.onnx: no list of characters"):
        EngineChoice("rapidocr", tmp_path).plan().load()
