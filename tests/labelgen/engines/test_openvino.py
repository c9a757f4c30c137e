"""Networks in bfloat16, on processors that support it, and errors on others.

Only worker processes load OpenVINO, never the process that runs the tests.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from ovocr.base.errors import MissingExtraError, OvocrError, UsageError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.labelgen.build import build_labels
from ovocr.labelgen.engines import openvino
from ovocr.labelgen.engines.interface import EngineChoice
from ovocr.labelgen.options import BuildOptions

Draw = Callable[..., Image.Image]
TEXTS = ["the quick brown fox", "over the river", "a stone", "lazy dog in the garden", "window", "quick quick fox"]


@pytest.fixture
def images(drawn: Draw, tmp_path: Path) -> Path:
    """Returns a folder of images of several widths. Skips the test if bfloat16 is not supported."""
    try:
        openvino.check_bfloat16()
    except OvocrError as error:
        pytest.skip(str(error))
    folder = tmp_path / "images"
    folder.mkdir()
    for number, text in enumerate(TEXTS):
        drawn(text, (60 + 17 * len(text), 90)).save(folder / f"{number}.png")
    return folder


def build(images: Path, out: Path, workers: int) -> dict[str, bytes]:
    """Builds a data set and returns its files without the stats."""
    build_labels(BuildOptions(sources=(str(images),), out=out, precision="bfloat16", workers=workers), progress=False)
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.parent.name != "stats"
    }


def test_data_set_does_not_depend_on_workers_and_manifest_names_bfloat16(images: Path, tmp_path: Path):
    one, two = build(images, tmp_path / "one", 1), build(images, tmp_path / "two", 2)
    assert one == two
    rows = pq.read_table(LabelledDataSet(tmp_path / "one").ocr_path(0)).to_pylist()
    assert [" ".join(line["text"] for line in row["lines"]) for row in rows] == TEXTS
    engine = json.loads(one["manifest.json"])["engine"]
    assert engine["settings"]["precision"] == "bfloat16"
    assert engine["versions"]["openvino"] == version("openvino")
    with pytest.raises(OvocrError, match="precision"):
        build_labels(BuildOptions(sources=(str(images),), out=tmp_path / "one"), progress=False)


def test_main_process_does_not_load_openvino(images: Path):
    code = (
        "import sys; from ovocr.labelgen.engines.interface import EngineChoice\n"
        "EngineChoice('rapidocr', precision='bfloat16').plan().describe()\n"
        "sys.exit('openvino' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_missing_openvino_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(openvino, "find_spec", lambda name: None if name == "openvino" else find_spec(name))
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[openvino\]'"):
        EngineChoice("rapidocr", precision="bfloat16").plan()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        # OpenVINO's output on an x86-64 processor with AVX2.
        ("print('FP32 INT8 BIN EXPORT_IMPORT')", "this processor has no instructions for it, only for FP32, INT8"),
        ("import os; os.abort()", "OpenVINO does not start .exit code -6."),
        ("raise OSError('libtbb.so.12: cannot open')", "OpenVINO does not start .OSError: libtbb.so.12: cannot open."),
    ],
)
def test_unsupported_bfloat16_is_refused(answer: str, message: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(openvino, "find_spec", lambda name: True)
    monkeypatch.setattr(openvino, "_QUERY", answer)
    with pytest.raises(UsageError, match=f"^--precision bfloat16: {message}.*omit the option$"):
        openvino.check_bfloat16()
