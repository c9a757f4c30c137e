"""The models that the engine accepts, and the error lines for wrong or missing ones."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from ovocr.base.errors import MissingExtraError
from ovocr.cli import main
from ovocr.labelgen.engines.interface import EngineChoice


def error_line(*options: object) -> str:
    """Returns the error line of `ovocr build-labels`. Asserts that it is one line and the exit code is 2."""
    arguments = ["build-labels", "empty.tar", "--out", "out", *options]
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    (line,) = result.stderr.splitlines()
    assert (result.exit_code, result.stdout) == (2, "")
    assert line.startswith("ovocr: ")
    return line


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.tar").write_bytes(b"\0" * 10240)


@pytest.fixture
def folder(models: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(models["paddle"], tmp_path / "m"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engine", "tesseract"], "--engine tesseract: not one of rapidocr, paddleocr"),
        (
            ["--engine", "rapidocr", "--det-model", "x"],
            "--det-model x: RapidOCR downloads no models; use --engine paddle",
        ),
        (["--rec-model", "x", "--model-dir", "m"], "--rec-model x: the models of --model-dir are used; give one or"),
        (
            ["--engine", "paddleocr", "--precision", "bfloat16"],
            "--precision bfloat16: --engine paddleocr reads in float",
        ),
        (["--engine", "paddleocr", "--model-dir", "none"], "--model-dir: none: no such folder; give a folder with"),
        (["--engine", "paddleocr", "--det-model", "PP-OCRv6_big_det"], "nearest names are PP-OCRv6_"),
    ],
)
def test_wrong_options_are_a_one_line_error(options: list[str], message: str):
    assert message in error_line(*options)


def without_network_file(folder: Path) -> None:
    (folder / "det" / "inference.pdmodel").unlink()


def without_configuration(folder: Path) -> None:
    (folder / "rec" / "inference.yml").unlink()


def both_kinds_in_one(folder: Path) -> None:
    (folder / "det" / "inference.onnx").touch()


def two_kinds(folder: Path) -> None:
    (folder / "rec" / "inference.pdmodel").unlink()
    (folder / "rec" / "inference.onnx").touch()


def not_yaml(folder: Path) -> None:
    (folder / "det" / "inference.yml").write_text("a: [")


def different_yaml(folder: Path) -> None:
    (folder / "det" / "inference.yml").write_text("a: 1")


def swapped(folder: Path) -> None:
    (folder / "det").rename(folder / "x")
    (folder / "rec").rename(folder / "det")
    (folder / "x").rename(folder / "rec")


def without_characters(folder: Path) -> None:
    path = folder / "rec" / "inference.yml"
    path.write_text(path.read_text().replace("character_dict", "characters"))


def code_as_scale(folder: Path) -> None:
    path = folder / "det" / "inference.yml"
    path.write_text(path.read_text().replace("1./255.", "open('written', 'w')"))


def curved(folder: Path) -> None:
    path = folder / "det" / "inference.yml"
    path.write_text(path.read_text() + "  box_type: poly\n")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            without_network_file,
            "--model-dir: m/det contains no model; it needs inference.json or inference.pdmodel with",
        ),
        (without_configuration, "--model-dir: m/rec/inference.yml: no such file"),
        (both_kinds_in_one, "--model-dir: m/det contains a Paddle model and inference.onnx; keep only one"),
        (two_kinds, "--model-dir: m/det is for paddlepaddle, m/rec for onnxruntime; use models of one kind"),
        (not_yaml, "m/det/inference.yml: not a YAML file"),
        (
            different_yaml,
            "m/det/inference.yml: not a configuration that PaddleOCR writes for det/ (KeyError: 'Global')",
        ),
        (swapped, "m/det/inference.yml: PostProcess is CTCLabelDecode, but det/ needs DBPostProcess"),
        (without_characters, "m/rec/inference.yml: PostProcess has no character_dict"),
        (code_as_scale, "m/det/inference.yml: NormalizeImage: scale"),
        (curved, "m/det/inference.yml: a detector of curved text (box_type poly)"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_wrong_model_folder_is_a_one_line_error(
    damage: Callable[[Path], None], message: str, folder: Path, tmp_path: Path
):
    damage(folder)
    assert message in error_line("--engine", "paddleocr", "--model-dir", "m")
    assert not (tmp_path / "written").exists()
    assert not (tmp_path / "out").exists()


def cut(folder: Path) -> None:
    (folder / "rec" / "inference.pdiparams").write_bytes(b"no parameters")


def with_an_unknown_name(folder: Path) -> None:
    path = folder / "rec" / "inference.yml"
    path.write_text(path.read_text().replace("PP-OCRv4_mobile_rec", "my_rec"))


def with_other_characters(folder: Path) -> None:
    path = folder / "rec" / "inference.yml"
    path.write_text(path.read_text() + "  - and one more\n")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "PP-OCRv4_mobile_det and PP-OCRv4_mobile_rec do not work on paddlepaddle "),
        (with_an_unknown_name, "'my_rec'"),
        (with_other_characters, "the network has 6625 characters, its list has 6626"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_unusable_models_are_a_one_line_error(damage: Callable[[Path], None], message: str, folder: Path):
    damage(folder)
    assert message in error_line("--engine", "paddleocr", "--model-dir", "m")


def test_broken_onnx_file_is_a_one_line_error(models: dict[str, Path], tmp_path: Path):
    shutil.copytree(models["onnx"], tmp_path / "m")
    (tmp_path / "m" / "det" / "inference.onnx").write_bytes(b"no model")
    line = error_line("--engine", "paddleocr", "--model-dir", "m")
    assert "PP-OCRv6_small_det and PP-OCRv6_small_rec do not work on onnxruntime " in line
    assert "m/det/inference.onnx" in line


@pytest.mark.parametrize("package", ["paddleocr", "onnxruntime"])
def test_missing_package_names_the_install_command(package: str, monkeypatch: pytest.MonkeyPatch):
    from importlib.util import find_spec

    monkeypatch.setattr(
        "ovocr.labelgen.engines.paddleocr.find_spec", lambda name: None if name == package else find_spec(name)
    )
    with pytest.raises(MissingExtraError, match=r"--engine paddleocr .* pip install '\.\[paddle\]'"):
        EngineChoice("paddleocr").plan()


def test_missing_paddlepaddle_names_the_install_command(folder: Path, monkeypatch: pytest.MonkeyPatch):
    from importlib.util import find_spec

    monkeypatch.setattr(
        "ovocr.labelgen.engines.paddleocr.find_spec", lambda name: None if name == "paddle" else find_spec(name)
    )
    line = error_line("--engine", "paddleocr", "--model-dir", "m")
    assert "m/det: a Paddle model needs PaddlePaddle: pip install 'paddlepaddle<3.3'" in line
