"""Networks in bfloat16, for real where the processor has it, and what one without it is told."""

import socket
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from ovocr.errors import MissingExtraError, UsageError
from ovocr.labelgen.engine import Engine, EngineChoice, EnginePlan
from ovocr.labelgen.reading import read_pictures

Draw = Callable[..., Image.Image]


def plan() -> EnginePlan:
    return EngineChoice("rapidocr", precision="bfloat16").plan()


@pytest.fixture(scope="module")
def engine() -> Engine:
    pytest.importorskip("openvino", reason="OpenVINO is not installed (pip install 'ovocr[openvino]')")
    try:
        return plan().load()
    except UsageError as error:
        pytest.skip(str(error))


def test_reads_offline_and_each_picture_as_if_alone(engine: Engine, drawn: Draw, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("an engine must not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    texts = ["the quick brown fox", "over the river", "a stone", "lazy dog in the garden"]
    pictures = [np.ascontiguousarray(np.asarray(drawn(text, (60 + 17 * len(text), 90)))[:, :, ::-1]) for text in texts]
    alone = [read_pictures(engine, [picture])[0] for picture in pictures]
    assert [line.text for lines in alone for line in lines] == texts
    assert read_pictures(engine, pictures) == alone
    assert read_pictures(engine, pictures[::-1]) == alone[::-1]


def test_the_precision_is_part_of_the_configuration(engine: Engine):
    rounded, full = plan().describe(), EngineChoice("rapidocr").plan().describe()
    assert (rounded["settings"]["precision"], full["settings"]["precision"]) == ("bfloat16", "float32")
    assert rounded["versions"] == {**full["versions"], "openvino": version("openvino")}


def test_without_openvino(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "ovocr.labelgen.openvino_session.find_spec", lambda name: None if name == "openvino" else find_spec(name)
    )
    with pytest.raises(MissingExtraError, match=r"pip install 'ovocr\[openvino\]'"):
        plan()


def test_a_processor_that_has_no_bfloat16(monkeypatch: pytest.MonkeyPatch):
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed (pip install 'ovocr[openvino]')")
    # What OpenVINO says on an x86-64 processor of AVX2.
    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32", "INT8", "BIN", "EXPORT_IMPORT"])
    with pytest.raises(UsageError, match="--precision bfloat16: this processor has no instructions for it"):
        plan()
