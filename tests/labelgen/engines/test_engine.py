"""The RapidOCR engine: its lines, its models and errors, and that it never uses the network."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovocr.base.errors import MissingExtraError, OvocrError, UsageError
from ovocr.labelgen.engines.batching import read_lines
from ovocr.labelgen.engines.interface import Engine, EngineChoice, EngineError, Pixels, Prepared
from ovocr.labelgen.engines.rapidocr import RapidOcrPlan

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
    ((first, second),) = read_lines(engine, [pixels(drawn("the quick brown fox\nover the river", (420, 120)))])
    assert (first.text, second.text) == ("the quick brown fox", "over the river")
    assert 0.5 <= first.score <= 1
    assert first.score == round(first.score, 4)
    x1, y1, x2, _, x3, y3, _, y4 = first.box
    # The text starts at (15, 20), is 32 pixels high and about 300 pixels long.
    assert 0 <= x1 <= 20
    assert 280 <= x2 <= 345
    assert 10 <= y1 <= 30
    assert 45 <= y4 <= 65
    assert (x3, y3) == (x2, y4)
    assert second.box[1] > y1 + 20


def test_lines_do_not_depend_on_the_batch(engine: Engine, drawn: Draw):
    images = [pixels(drawn("quick fox")), pixels(drawn("over the lazy dog and the river", (560, 90))), blank(50, 50)]
    alone = [read_lines(engine, [image])[0] for image in images]
    assert read_lines(engine, images) == alone
    assert read_lines(engine, images[::-1]) == alone[::-1]
    assert [len(lines) for lines in alone] == [1, 1, 0]


@pytest.mark.slow
def test_lines_of_real_images_do_not_depend_on_the_batch(engine: Engine, shared_data: Path):
    files = sorted(path for path in (shared_data / "web").iterdir() if path.suffix in (".jpg", ".png"))[:8]
    images = [pixels(Image.open(path).convert("RGB")) for path in files]
    alone = [read_lines(engine, [image])[0] for image in images]
    assert sum(map(len, alone)) > 20
    assert read_lines(engine, images) == alone
    assert read_lines(engine, images[::-1]) == alone[::-1]


def blank(width: int, height: int) -> Pixels:
    return np.full((height, width, 3), 255, np.uint8)


@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (100, 1), (1, 100), (2000, 20), (20, 2000), (30_000, 300), (300, 30_000), (31, 29)]
)
def test_blank_images_of_any_shape_have_no_lines(engine: Engine, width: int, height: int):
    assert read_lines(engine, [blank(width, height)]) == [[]]


def test_no_images_give_no_lines(engine: Engine):
    assert read_lines(engine, []) == []


def test_engine_errors_name_the_step(engine: Engine):
    with pytest.raises(EngineError, match="^detection: "):
        engine.prepare(np.zeros((0, 0, 3), np.uint8))


def test_unknown_engine_is_refused():
    with pytest.raises(UsageError, match="--engine tesseract: not one of rapidocr, paddleocr"):
        EngineChoice("tesseract").plan()


@pytest.mark.parametrize("package", ["rapidocr", "onnxruntime"])
def test_missing_package_names_the_install_command(package: str, monkeypatch: pytest.MonkeyPatch):
    from importlib.util import find_spec

    monkeypatch.setattr(
        "ovocr.labelgen.engines.rapidocr.find_spec", lambda name: None if name == package else find_spec(name)
    )
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[ocr\]'"):
        EngineChoice("rapidocr").plan()


def test_incomplete_installation_names_the_install_command(monkeypatch: pytest.MonkeyPatch):
    # `pip install --no-deps rapidocr` has the same effect.
    monkeypatch.setitem(sys.modules, "omegaconf", None)
    with pytest.raises(OvocrError, match=r"cannot be imported \(.*omegaconf.*\); install .* pip install '\.\[ocr\]'"):
        EngineChoice("rapidocr").plan().load()


def bundled() -> RapidOcrPlan:
    plan = EngineChoice("rapidocr").plan()
    assert isinstance(plan, RapidOcrPlan)
    return plan


def model_dir(folder: Path, det: Path, rec: Path) -> Path:
    """Makes a folder for --model-dir with links to these files."""
    for part, path in (("det", det), ("rec", rec)):
        (folder / part).mkdir(parents=True)
        (folder / part / "x.onnx").symlink_to(path)
    return folder


def other_models() -> dict[str, Path]:
    """Returns models of several kinds that the installed packages contain."""
    import onnxruntime

    datasets = Path(onnxruntime.__file__).with_name("datasets")
    return {
        "detector": bundled().det,
        "recogniser": bundled().rec,
        "classifier": bundled().det.with_name("ch_ppocr_mobile_v2.0_cls_mobile.onnx"),
        "iris": datasets / "logreg_iris.onnx",
        "sigmoid": datasets / "sigmoid.onnx",
    }


def edited_recogniser(path: Path, old: bytes, new: bytes) -> Path:
    """Writes the recogniser with its list of characters changed: replaces the first ``old`` from the list's name on."""
    data = bundled().rec.read_bytes()
    start = data.index(b"\x0a\x09character")
    path.write_bytes(data[:start] + data[start:].replace(old, new, 1))
    return path


def test_model_dir_gives_the_models(tmp_path: Path):
    plan = EngineChoice("rapidocr", model_dir(tmp_path, bundled().det, bundled().rec)).plan()
    own = plan.describe()
    assert own == bundled().describe()
    assert set(own["models"]) == {"det", "rec"}
    assert all(len(digest) == 64 for digest in own["models"].values())
    plan.load()


def test_model_suffix_may_be_in_capitals(tmp_path: Path):
    model_dir(tmp_path, bundled().det, bundled().rec)
    (tmp_path / "det" / "x.onnx").rename(tmp_path / "det" / "X.ONNX")
    plan = EngineChoice("rapidocr", tmp_path).plan()
    assert isinstance(plan, RapidOcrPlan)
    assert plan.det.name == "X.ONNX"


@pytest.mark.parametrize(
    ("existing", "message"),
    [
        ([], r"m: no such folder; give a folder with det/ and rec/ and a model in each"),
        (["m"], r"m: not a folder"),
        (["m/x.onnx"], r"m/det: no such folder"),
        (["m/det"], r"m/det: not a folder"),
        (["m/det/x.onnx"], r"m/rec: no such folder"),
        (["m/det/x.onnx", "m/rec"], r"m/rec: not a folder"),
        (["m/det/x.txt", "m/rec/x.onnx"], r"m/det must contain one \.onnx file, but contains 0"),
        (["m/det/x.onnx", "m/det/y.ONNX", "m/rec/x.onnx"], r"m/det must contain one \.onnx file, but contains 2"),
        (["m/det/x.onnx/y", "m/rec/x.onnx"], r"m/det/x\.onnx: not a file"),
    ],
)
def test_wrong_model_dir_names_the_first_problem(tmp_path: Path, existing: list[str], message: str):
    for name in existing:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match=f"^--model-dir: {re.escape(str(tmp_path))}/{message}"):
        EngineChoice("rapidocr", tmp_path / "m").plan()


def test_model_that_is_a_broken_link_is_refused(tmp_path: Path):
    model_dir(tmp_path, bundled().det, tmp_path / "gone")
    with pytest.raises(UsageError, match=r"rec/x\.onnx: a link to .*gone, which is not a file; put the model there"):
        EngineChoice("rapidocr", tmp_path).plan()


def test_model_that_vanishes_after_planning_is_refused(tmp_path: Path):
    plan = EngineChoice("rapidocr", model_dir(tmp_path, bundled().det, bundled().rec)).plan()
    (tmp_path / "rec" / "x.onnx").unlink()
    with pytest.raises(UsageError, match=r"rec/x\.onnx: no such file; put the model there"):
        plan.load()


def test_file_that_is_not_a_model_is_refused(tmp_path: Path):
    (tmp_path / "none").write_bytes(b"no model")
    model_dir(tmp_path, tmp_path / "none", bundled().rec)
    with pytest.raises(
        UsageError, match=r"det/x\.onnx: ONNX Runtime cannot load this model \(.*Protobuf parsing failed"
    ):
        EngineChoice("rapidocr", tmp_path).plan().load()


@pytest.mark.parametrize(
    ("det", "rec", "message"),
    [
        (
            "recogniser",
            "recogniser",
            r"det/x\.onnx: not a text detection model \(it refuses an image of 32 x 32 pixels: ",
        ),
        ("classifier", "recogniser", r"det/x\.onnx: not a text detection model \(its output is \(1, 2\), not "),
        (
            "iris",
            "recogniser",
            r"det/x\.onnx: not a text detection model \(.* Invalid rank for input: float_input Got: 4",
        ),
        ("detector", "classifier", r"rec/x\.onnx: not a text recognition model \(its output is \(1, 2\), not char"),
        (
            "detector",
            "detector",
            r"rec/x\.onnx: not a text recognition model \(it refuses an image of 32 x 48 pixels: ",
        ),
        ("detector", "sigmoid", r"rec/x\.onnx: not a text recognition model \(.* Invalid rank for input: x Got: 4 "),
    ],
)
def test_model_of_a_different_kind_is_refused(tmp_path: Path, det: str, rec: str, message: str):
    models = other_models()
    with pytest.raises(UsageError, match=message) as raised:
        EngineChoice("rapidocr", model_dir(tmp_path, models[det], models[rec])).plan().load()
    assert len(str(raised.value).splitlines()) == 1
    assert "Please fix" not in str(raised.value)


def test_recogniser_without_characters_is_refused(tmp_path: Path):
    rec = edited_recogniser(tmp_path / "rec.onnx", b"character", b"charactex")
    with pytest.raises(UsageError, match=r"rec/x\.onnx: no list of characters"):
        EngineChoice("rapidocr", model_dir(tmp_path / "m", bundled().det, rec)).plan().load()


def test_recogniser_with_a_wrong_list_of_characters_is_refused(tmp_path: Path):
    import onnxruntime

    metadata = onnxruntime.InferenceSession(bundled().rec).get_modelmeta().custom_metadata_map
    first, second = metadata["character"].splitlines()[100:102]
    rec = edited_recogniser(tmp_path / "rec.onnx", f"{first}\n{second}".encode(), f"{first}x{second}".encode())
    with pytest.raises(UsageError, match=r"rec/x\.onnx: the network has 18710 characters, .* gives 18709;"):
        EngineChoice("rapidocr", model_dir(tmp_path / "m", bundled().det, rec)).plan().load()


def test_engine_error_keeps_onnxruntimes_message(engine: Engine):
    with pytest.raises(EngineError) as raised:
        engine.detect([Prepared(np.zeros((1, 32, 32), np.float32), None)])
    assert str(raised.value) == (
        "detection: ONNXRuntimeError: Got invalid dimensions for input: x for the following indices "
        "index: 1 Got: 1 Expected: 3"
    )
    with pytest.raises(EngineError, match=r"^detection: ONNXRuntimeError: Non-zero .* Add node.* 3 by 4$") as raised:
        engine.detect([Prepared(np.zeros((3, 48, 32), np.float32), None)])
    assert len(str(raised.value)) < 300


def test_onnxruntime_sends_no_telemetry(tmp_path: Path):
    """ONNX Runtime's telemetry leaves a session file in the temporary folder."""
    code = "{}; from ovocr.labelgen.engines.interface import EngineChoice; EngineChoice('rapidocr').plan().load()"
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    left = []
    for change in ("pass", "import os, ovocr; del os.environ['ORT_DISABLE_TELEMETRY']"):
        folder = tmp_path / str(len(left))
        folder.mkdir()
        command = [sys.executable, "-c", code.format(change)]
        subprocess.run(command, env={**environment, "TMPDIR": str(folder)}, check=True)
        left.append([path.name for path in folder.iterdir()])
    assert left[0] == []
    if left[1] == []:
        pytest.skip("this ONNX Runtime has no telemetry")
