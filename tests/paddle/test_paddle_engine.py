"""The PaddleOCR engine on PaddlePaddle and on ONNX Runtime, compared with PaddleOCR itself."""

import pickle
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from ovocr.labelgen.engines.batching import padded_width, read_lines
from ovocr.labelgen.engines.interface import Engine, EngineError, Pixels
from ovocr.labelgen.engines.paddle_engine import PaddlePlan
from ovocr.labelgen.engines.paddle_models import DEFAULT_MODELS

Draw = Callable[..., Pixels]
KINDS = ("paddle", "onnx")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def engine(kind: str, engines: dict[str, Engine]) -> Engine:
    return engines[kind]


@pytest.fixture
def plan(kind: str, plans: dict[str, PaddlePlan]) -> PaddlePlan:
    return plans[kind]


def test_reads_lines_with_scores_and_boxes(engine: Engine, drawn: Draw, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket.socket, "connect", None)
    ((first, second),) = read_lines(engine, [drawn("the quick brown fox\nlazy brown dog", (420, 120))])
    assert (first.text, second.text) == ("the quick brown fox", "lazy brown dog")
    assert 0.5 <= first.score <= 1
    x1, y1, x2, _, x3, y3, _, y4 = first.box
    # The text was drawn from (15, 20) on, 32 pixels high and about 300 long.
    assert 0 <= x1 <= 20
    assert 280 <= x2 <= 345
    assert 10 <= y1 <= 30
    assert 45 <= y4 <= 65
    assert (x3, y3) == pytest.approx((x2, y4), abs=3)
    assert second.box[1] > y1 + 20


def test_lines_do_not_depend_on_the_batch(engine: Engine, drawn: Draw):
    images = [drawn("quick fox"), drawn("over the lazy dog and the river", (560, 90)), blank(50, 50), drawn("stone")]
    alone = [read_lines(engine, [image])[0] for image in images]
    assert read_lines(engine, images) == alone
    assert read_lines(engine, images[::-1]) == alone[::-1]
    assert [len(lines) for lines in alone] == [1, 1, 0, 1]


def blank(width: int, height: int) -> Pixels:
    return np.full((height, width, 3), 255, np.uint8)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (100, 1), (1, 100), (2000, 20), (20, 2000), (30_000, 300)])
def test_blank_images_of_any_shape_have_no_lines(engine: Engine, width: int, height: int):
    assert read_lines(engine, [blank(width, height)]) == [[]]


def test_tiny_and_thin_images_raise_no_error(engine: Engine):
    """The detector's boxes in images of a few pixels can be empty."""
    noise = np.random.default_rng(0)
    for width, height in [(2, 90), (3, 200), (90, 2), (200, 5), (7, 7), (40, 20)]:
        for _ in range(5):
            read_lines(engine, [noise.integers(0, 2, (height, width, 3), np.uint8) * 255])


def test_boxes_match_paddleocr(engine: Engine, kind: str, models: dict[str, Path], drawn: Draw):
    from paddleocr import TextDetection

    image = drawn("the quick brown fox\nlazy brown dog", (1500, 1200))
    module = TextDetection(model_dir=str(models[kind] / "det"), box_thresh=0.4, **own(kind, "det"))
    (result,) = module.predict(image, limit_side_len=960, limit_type="max")
    (found,) = engine.detect([engine.prepare(image)])
    assert len(found.regions) == 2
    assert sorted(region.box for region in found.regions) == sorted(
        tuple(box.reshape(-1)) for box in result["dt_polys"]
    )


def test_text_and_score_match_paddleocr(engine: Engine, kind: str, models: dict[str, Path], drawn: Draw):
    from paddleocr import TextRecognition

    module = TextRecognition(model_dir=str(models[kind] / "rec"), **own(kind, "rec"))
    for width in (416, 480, 640):  # PaddleOCR pads to 320 at least; at these widths both pad alike
        crop = cv2.resize(drawn("over the lazy dog", (420, 72)), (width, 48))
        (theirs,) = module.predict(crop)
        (ours,) = engine.recognise([crop], padded_width(crop, engine.batching))
        assert ours.text == theirs["rec_text"]
        assert ours.text.split() == ["over", "the", "lazy", "dog"]
        assert ours.score == pytest.approx(theirs["rec_score"], abs=1e-6)


def own(kind: str, part: str) -> dict[str, object]:
    if kind == "onnx":
        return {"model_name": f"PP-OCRv6_small_{part}", "device": "cpu", "engine": "onnxruntime"}
    return {"model_name": f"PP-OCRv4_mobile_{part}", "device": "cpu"}


def test_crops_are_padded_to_the_exact_width(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    predictor = engine._recogniser
    characters = len(predictor.post_op._decoder.character)
    shapes = []

    def network(x: list[np.ndarray]) -> list[np.ndarray]:
        shapes.append(x[0].shape)
        return [np.zeros((1, 1, characters), np.float32)]

    monkeypatch.setattr(predictor, "runner", network)
    widths = range(32, 6000, 8)
    for width in widths:
        engine.recognise([blank(width - 5, 48)], width)
    assert shapes == [(1, 3, 48, width) for width in widths]


def test_lost_spaces_are_restored(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    predictor = engine._recogniser
    characters = predictor.post_op._decoder.character
    output = np.zeros((1, 4, len(characters)), np.float32)
    for column, character in enumerate(["a", "blank", "blank", "b"]):
        output[0, column, characters.index(character)] = 0.6
    output[0, 2, -1] = 0.2
    monkeypatch.setattr(predictor, "runner", lambda x: [output.copy()])
    (reading,) = engine.recognise([blank(60, 48)], 64)
    assert reading.text == "a b"
    assert reading.score == pytest.approx(0.6)


def test_engine_errors_name_the_step(engine: Engine):
    with pytest.raises(EngineError, match="^detection: "):
        engine.prepare(np.zeros((100, 0, 3), np.uint8))
    with pytest.raises(EngineError, match="^recognition: "):
        engine.recognise([np.zeros((0, 5, 3), np.uint8)], 32)


def test_plan_describes_settings_models_and_versions(plan: PaddlePlan, kind: str):
    described = plan.describe()
    assert described["settings"]["device"] == "cpu"
    assert described["settings"]["onednn"] is (kind == "paddle")
    assert "crop_batch" not in described["settings"]
    package = {"paddle": "paddlepaddle", "onnx": "onnxruntime"}[kind]
    assert set(described["versions"]) == {"paddleocr", "paddlex", package}
    assert all(len(digest) == 64 for digest in described["models"].values())
    assert plan.workers is None
    assert pickle.loads(pickle.dumps(plan)) == plan
    device = {"paddle": "CPU with oneDNN", "onnx": "CPU"}[kind]
    names = {"paddle": "PP-OCRv4_mobile_det + PP-OCRv4_mobile_rec", "onnx": "PP-OCRv6_small_det + PP-OCRv6_small_rec"}
    assert plan.notice == f"paddleocr: {names[kind]} on {package} {described['versions'][package]}, {device}"


def test_model_hash_depends_on_its_files(plan: PaddlePlan, tmp_path: Path):
    (tmp_path / "inference.yml").write_text("a")
    model = replace(plan.det, folder=tmp_path, files=("inference.yml",))
    before = model.sha256()
    (tmp_path / "inference.yml").write_text("b")
    assert model.sha256() != before


def test_gpu_plan_has_full_batches_and_few_workers(plans: dict[str, PaddlePlan]):
    plan = replace(plans["paddle"], gpus=2, onednn=False)
    assert (plan.workers, plan.images_at_once) == (8, 32)
    assert plan.batching.full
    settings = plan.describe()["settings"]
    assert (settings["device"], settings["picture_batch"], settings["crop_batch"]) == ("gpu", 8, 64)


def test_default_models_match_paddleocr():
    from paddleocr import TextDetection, TextRecognition

    for part, module in (("det", TextDetection), ("rec", TextRecognition)):
        assert module.default_model_name.fget(None) == DEFAULT_MODELS[part]


# With the models of benchmarks/paddle_models.py. docs/engines.md has the results on all images.
@pytest.mark.parametrize(("kind", "floor"), [("paddle", 0.85), ("onnx", 0.9)])
def test_precision_and_recall_on_receipts(
    kind: str, floor: float, engines: dict[str, Engine], shared_data: Path, accuracy: ModuleType
):
    folder = shared_data / "receipts"
    texts = []
    for path in sorted(folder.glob("*.jpg"))[:8]:
        (lines,) = read_lines(engines[kind], [cv2.imread(str(path))])
        texts.append((path.name, "\n".join(line.text for line in lines)))
    score = accuracy.total_score(accuracy.score_images(texts, folder))
    assert score.transcribed > 500
    assert score.precision >= floor
    assert score.recall >= floor
