"""RapidOCR on ONNX Runtime as an engine: its detector, recogniser and geometry, with our own batches.

Source: RapidOCR 3.10, ``main.py`` (the order of the steps), ``ch_ppocr_det``, ``ch_ppocr_rec``, ``utils/process_img``.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ovocr.base.errors import MissingExtraError, OvocrError, UsageError
from ovocr.dataset.boxes import DECIMALS
from ovocr.labelgen.engines.batching import MIN_CROP_WIDTH
from ovocr.labelgen.engines.interface import Batching, EngineChoice, EngineError, Pixels, Prepared, Reading, Region
from ovocr.labelgen.engines.lost_spaces import MIN_PROBABILITY, SpacingDecoder
from ovocr.labelgen.engines.onnx_models import CROP_HEIGHT, find_onnx_models, load_detector, load_recogniser
from ovocr.labelgen.engines.openvino import Bfloat16Session, check_bfloat16

PACKAGES = ("rapidocr", "onnxruntime")
# Inside RapidOCR's wheel; named so that its downloader is never asked.
BUNDLED_MODELS = {"det": "PP-OCRv6_det_small.onnx", "rec": "PP-OCRv6_rec_small.onnx"}
DETECTION_SIDE = 960  # the longer side that the detector sees
# Regions that the detector is less sure of are left out. RapidOCR asks 0.5, which loses digits that stand alone.
DETECTION_SCORE = 0.4
# On one thread a batch takes as long as its items one by one, and differs from them in the last bits of the scores.
BATCHING = Batching(pictures=1, crops=1, crop_height=CROP_HEIGHT, width_step=8)
IMAGES_AT_ONCE = 4


@dataclass(frozen=True)
class RapidOcrPlan:
    """The engine with these models: paths of .onnx files, of the detector and of the recogniser.

    bfloat16: compute in it, by OpenVINO; else in float32, by ONNX Runtime.
    """

    det: Path
    rec: Path
    bfloat16: bool = False
    notice: str | None = None
    images_at_once: int = IMAGES_AT_ONCE
    workers: int | None = None
    gpus: int = 0

    def describe(self) -> dict[str, Any]:
        """Settings, hashes and versions that the results depend on."""
        models = {"det": self.det, "rec": self.rec}
        packages = (*PACKAGES, "openvino") if self.bfloat16 else PACKAGES
        return {
            "name": "rapidocr",
            "models": {part: hashlib.sha256(path.read_bytes()).hexdigest() for part, path in models.items()},
            "settings": {
                "detection_side": DETECTION_SIDE,
                "detection_score": DETECTION_SCORE,
                "crop_width_step": BATCHING.width_step,
                "min_crop_width": MIN_CROP_WIDTH,
                "space_probability": MIN_PROBABILITY,
                "precision": "bfloat16" if self.bfloat16 else "float32",
            },
            "versions": {package: version(package) for package in packages},
        }

    def load(self, worker: int = 0) -> "RapidOcrEngine":
        """The engine, on one thread. Raises UsageError for a file that is no such model, else OvocrError."""
        try:
            return RapidOcrEngine(self.det, self.rec, self.bfloat16)
        except ImportError as error:
            raise OvocrError(
                f"--engine rapidocr: RapidOCR is installed but cannot be imported ({error}); pip install 'ovocr[ocr]'"
            ) from error


def plan(choice: EngineChoice) -> RapidOcrPlan:
    """The engine with the models of ``choice.model_dir``, or those of RapidOCR's wheel.

    Raises UsageError where a folder is not as described or the processor lacks the precision, MissingExtraError where
    packages are not installed.
    """
    if option := choice.named_model():
        raise UsageError(f"{option}: RapidOCR fetches no models; use --engine paddleocr, or --model-dir")
    spec = find_spec("rapidocr")
    if spec is None or spec.origin is None or not all(map(find_spec, ("onnxruntime", "cv2", "PIL"))):
        raise MissingExtraError("--engine rapidocr", "ocr")
    bfloat16 = choice.precision == "bfloat16"
    if bfloat16:
        check_bfloat16()
    if choice.model_dir is not None:
        return RapidOcrPlan(*find_onnx_models(choice.model_dir), bfloat16)
    folder = Path(spec.origin).parent / "models"
    for name in BUNDLED_MODELS.values():
        if not (folder / name).is_file():
            raise UsageError(f"{folder / name}: RapidOCR's model is missing; pip install --force-reinstall rapidocr")
    return RapidOcrPlan(folder / BUNDLED_MODELS["det"], folder / BUNDLED_MODELS["rec"], bfloat16)


class RapidOcrEngine:
    """Detector and recogniser of RapidOCR. det, rec: paths of their models; nothing is fetched from anywhere.

    bfloat16: let OpenVINO compute the networks, in bfloat16.

    Raises UsageError where a file is not the model that it should be: both are tried out.
    """

    batching = BATCHING

    def __init__(self, det: Path, rec: Path, bfloat16: bool = False) -> None:
        import cv2
        import rapidocr
        from omegaconf import OmegaConf
        from rapidocr.ch_ppocr_det import TextDetector
        from rapidocr.ch_ppocr_rec import TextRecognizer
        from rapidocr.utils.parse_parameters import ParseParams

        cv2.setNumThreads(1)
        # RapidOCR's logger writes to the terminal on its own.
        logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
        config = ParseParams.load(Path(rapidocr.__file__).with_name("config.yaml"))
        # The configuration holds the sessions too, which is how RapidOCR takes one that was made elsewhere.
        parts = OmegaConf.create({"Det": config.Det, "Rec": config.Rec}, flags={"allow_objects": True})
        parts.Det.session = load_detector(det)
        parts.Det.limit_type = "max"
        parts.Det.limit_side_len = DETECTION_SIDE
        parts.Det.box_thresh = DETECTION_SCORE
        parts.Rec.session = load_recogniser(rec)
        parts.Rec.rec_batch_num = BATCHING.crops
        parts.Rec.font_path = None
        self.min_score: float = config.Global.text_score
        self._bounds = config.Global
        self._detector: Any = TextDetector(parts.Det)
        self._recogniser = _with_spaces(TextRecognizer(parts.Rec))
        if bfloat16:
            self._detector.session, self._recogniser.session = Bfloat16Session(det), Bfloat16Session(rec)
        self._scale = self._detector.get_preprocess()
        # In double precision, RapidOCR's, this takes three times as long for the same pixels.
        self._scale.mean, self._scale.std = np.float32(self._scale.mean), np.float32(self._scale.std)
        self._errors = _runtime_errors()

    def prepare(self, picture: Pixels) -> Prepared | None:
        """A picture as the detector wants it; None for one that shrinks to nothing. Raises EngineError."""
        from rapidocr.utils.process_img import apply_vertical_padding, resize_image_within_bounds

        bounds = self._bounds
        try:
            resized, ratio_h, ratio_w = resize_image_within_bounds(picture, bounds.min_side_len, bounds.max_side_len)
            steps: dict[str, Any] = {"preprocess": {"ratio_h": ratio_h, "ratio_w": ratio_w}}
            resized, steps = apply_vertical_padding(resized, steps, bounds.width_height_ratio, bounds.min_height)
            tensors = self._scale(resized)
        except self._errors as error:
            raise EngineError.at("detection", error) from error
        if tensors is None:
            return None
        return Prepared(tensors[0], _Source(resized, steps, *picture.shape[:2]))

    def detect(self, pictures: Sequence[Prepared]) -> list[list[Region]]:
        """The regions of each picture, in reading order. Raises EngineError."""
        try:
            maps = self._detector.session(np.stack([picture.tensor for picture in pictures]))
            return [self._regions(maps[number : number + 1], picture.source) for number, picture in enumerate(pictures)]
        except self._errors as error:
            raise EngineError.at("detection", error) from error

    def _regions(self, probability: Any, source: "_Source") -> list[Region]:
        from rapidocr.utils.process_img import get_rotate_crop_image, map_boxes_to_original

        found, _ = self._detector.postprocess_op(probability, source.pixels.shape[:2])
        if len(found) == 0:
            return []
        found = self._detector.sorted_boxes(found)
        crops = [get_rotate_crop_image(source.pixels, box.copy()) for box in found]
        boxes = map_boxes_to_original(found.copy(), source.steps, source.height, source.width)
        return [
            Region(tuple(round(float(value), DECIMALS) for value in box.reshape(-1)), crop)
            for box, crop in zip(boxes, crops, strict=True)
        ]

    def recognise(self, crops: Sequence[Pixels], width: int) -> list[Reading]:
        """The text of each crop. Raises EngineError."""
        from rapidocr.ch_ppocr_rec import TextRecInput

        # RapidOCR pads to this width; its own is 320 at least, or that of the widest crop of the batch.
        self._recogniser.rec_image_shape = [3, BATCHING.crop_height, width]
        try:
            result = self._recogniser(TextRecInput(img=list(crops)))
        except self._errors as error:
            raise EngineError.at("recognition", error) from error
        return [Reading(text, float(score)) for text, score in zip(result.txts, result.scores, strict=True)]


def _with_spaces(recogniser: Any) -> Any:
    """The recogniser, its decoder replaced by one that puts lost spaces back."""
    recogniser.postprocess_op = SpacingDecoder(recogniser.postprocess_op)
    return recogniser


@dataclass(frozen=True, eq=False)
class _Source:
    """What the detector's picture was made from. pixels: the picture as crops are cut from it, after ``steps``.

    steps: as map_boxes_to_original wants them. height, width: of the picture as given.
    """

    pixels: Pixels
    steps: dict[str, Any]
    height: int
    width: int


def _runtime_errors() -> tuple[type[Exception], ...]:
    """What a picture can make the parts raise; anything else is a mistake in the program."""
    import cv2
    from rapidocr.ch_ppocr_det.utils import ResizeImgError as DetectorResizeError
    from rapidocr.inference_engine.onnxruntime.main import ONNXRuntimeError
    from rapidocr.utils.process_img import ResizeImgError

    # OpenVINO has no error type of its own: it raises RuntimeError.
    arithmetic = (ValueError, LookupError, ArithmeticError, MemoryError, RuntimeError)
    return ONNXRuntimeError, ResizeImgError, DetectorResizeError, cv2.error, np.linalg.LinAlgError, *arithmetic
