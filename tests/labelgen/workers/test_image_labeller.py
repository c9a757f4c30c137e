"""ImageLabeller: images that are read together, and failures of the engine."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import TagPolicy
from ovocr.dataset.outcome import Outcome, Status
from ovocr.dataset.reasons import Reason
from ovocr.labelgen.engines.interface import Detection, Engine, EngineChoice, EngineError, Pixels, Prepared, Reading
from ovocr.labelgen.workers import image_labeller
from ovocr.labelgen.workers.image_labeller import ImageLabeller
from ovocr.vocab import Vocabulary
from tests.manifests import make_manifest

Draw = Callable[..., Image.Image]
Encode = Callable[..., bytes]


class FailingEngine:
    """The real engine, which fails on images of one width."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.min_score, self.batching = engine.min_score, engine.batching
        self.fails_on_width: int | None = None

    def prepare(self, image: Pixels, look: int = 0) -> Prepared | None:
        if image.shape[1] == self.fails_on_width:
            raise EngineError("detection: no")
        return self._engine.prepare(image, look)

    def detect(self, images: Sequence[Prepared]) -> list[Detection]:
        return self._engine.detect(images)

    def recognise(self, crops: Sequence[Pixels], width: int) -> list[Reading]:
        return self._engine.recognise(crops, width)


@pytest.fixture(scope="module")
def failing_engine() -> FailingEngine:
    return FailingEngine(EngineChoice("rapidocr").plan().load())


@pytest.fixture
def label(failing_engine: FailingEngine, tmp_path: Path) -> Callable[[list[bytes]], list[Outcome]]:
    failing_engine.fails_on_width = None
    vocabulary = Vocabulary(["quick", "brown", "fox", "river"])
    vocabulary.save(tmp_path / "vocab.txt")
    make_manifest([], vocabulary=vocabulary).write(tmp_path / "manifest.json")
    labeller = ImageLabeller(failing_engine, LabelledDataSet(tmp_path), TagPolicy(tags=10, seed=0), max_pixels=10**6)
    return lambda images: labeller([(f"{number}.jpg", data) for number, data in enumerate(images)])


@pytest.fixture
def images(drawn: Draw, encoded: Encode) -> list[bytes]:
    texts = [("quick brown fox", 420), ("the river", 300), ("fox", 200), ("brown river", 420)]
    drawings = [encoded(drawn(text, (width, 90))) for text, width in texts]
    return [drawings[0], b"not an image", *drawings[1:], b""]


def words(outcomes: list[Outcome]) -> list[str]:
    return [" ".join(line.text for line in outcome.lines) or str(outcome.reason) for outcome in outcomes]


def test_outcomes_do_not_depend_on_the_batch(label: Callable[[list[bytes]], list[Outcome]], images: list[bytes]):
    together = label(images)
    assert words(together) == [
        "quick brown fox",
        str(Reason.NOT_AN_IMAGE),
        "the river",
        "fox",
        "brown river",
        str(Reason.EMPTY),
    ]
    alone = [label([b""] * number + [image])[-1] for number, image in enumerate(images)]  # the key is the index
    assert together == alone
    assert label([]) == []


def test_only_the_image_that_the_engine_fails_on_is_quarantined(
    label: Callable[[list[bytes]], list[Outcome]], images: list[bytes], failing_engine: FailingEngine
):
    expected = label(images)
    failing_engine.fails_on_width = 300
    outcomes = label(images)
    assert (outcomes[2].status, outcomes[2].reason) == (Status.QUARANTINED, Reason.ENGINE_ERROR)
    assert outcomes[2].detail == "detection: no"
    assert outcomes[:2] + outcomes[3:] == expected[:2] + expected[3:]


def test_large_images_are_read_in_smaller_groups(
    label: Callable[[list[bytes]], list[Outcome]],
    images: list[bytes],
    failing_engine: FailingEngine,
    monkeypatch: pytest.MonkeyPatch,
):
    expected = label(images)
    read: list[int] = []
    original = image_labeller.read_lines
    monkeypatch.setattr(
        image_labeller,
        "read_lines",
        lambda engine, images: read.append(len(images)) or original(engine, images),
    )
    # 420 x 90 pixels; then 300 x 90 and 200 x 90; then 420 x 90.
    monkeypatch.setattr(image_labeller, "MAX_PIXELS_AT_ONCE", 50_000)
    assert label(images) == expected
    assert read == [1, 2, 1]
