"""RapidOCR on ONNX Runtime as an engine: its detector, recogniser and geometry, with our own batches.

Source: RapidOCR 3.10, ``main.py`` (the order of the steps), ``ch_ppocr_det``, ``ch_ppocr_rec``, ``utils/process_img``.
"""

import hashlib
import logging
import math
from collections import defaultdict
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ovocr.errors import MissingExtraError, UsageError
from ovocr.labelgen.boxes import DECIMALS
from ovocr.labelgen.engine import EngineError, Pixels, Reading, Region
from ovocr.labelgen.lost_spaces import MIN_PROBABILITY, SpacingDecoder

PACKAGES = ("rapidocr", "onnxruntime")
# Inside RapidOCR's wheel; named so that its downloader is never asked.
BUNDLED_MODELS = {"det": "PP-OCRv6_det_small.onnx", "rec": "PP-OCRv6_rec_small.onnx"}
DETECTION_SIDE = 960  # the longer side that the detector sees
CROP_HEIGHT = 48
# Regions that the detector is less sure of are left out. RapidOCR asks 0.5, which loses digits that stand alone.
DETECTION_SCORE = 0.4
# A crop is padded to its own width in whole steps; RapidOCR pads to 320 at least and to its neighbours.
CROP_WIDTH_STEP = 8
MIN_CROP_WIDTH = 32


def find_models(model_dir: Path | None) -> dict[str, Path]:
    """Paths of the detector's and the recogniser's model.

    Raises UsageError where a folder is not as described, MissingExtraError where RapidOCR is not installed.
    """
    spec = find_spec("rapidocr")
    if spec is None or spec.origin is None or not all(map(find_spec, ("onnxruntime", "cv2", "PIL"))):
        raise MissingExtraError("--engine rapidocr", "ocr")
    if model_dir is not None:
        return {part: _only_model(model_dir / part) for part in BUNDLED_MODELS}
    folder = Path(spec.origin).parent / "models"
    models = {part: folder / name for part, name in BUNDLED_MODELS.items()}
    for path in models.values():
        if not path.is_file():
            raise UsageError(f"{path}: RapidOCR's model is missing; pip install --force-reinstall rapidocr")
    return models


def _only_model(folder: Path) -> Path:
    models = sorted(folder.glob("*.onnx"))
    if len(models) != 1:
        raise UsageError(f"--model-dir: {folder} must hold one .onnx file, there are {len(models)}")
    return models[0]


def describe(model_dir: Path | None) -> dict[str, Any]:
    """Settings, hashes and versions that the results depend on."""
    models = find_models(model_dir)
    return {
        "models": {part: hashlib.sha256(path.read_bytes()).hexdigest() for part, path in models.items()},
        "settings": {
            "detection_side": DETECTION_SIDE,
            "detection_score": DETECTION_SCORE,
            "crop_width_step": CROP_WIDTH_STEP,
            "min_crop_width": MIN_CROP_WIDTH,
            "space_probability": MIN_PROBABILITY,
        },
        "versions": {package: version(package) for package in PACKAGES},
    }


def load(model_dir: Path | None) -> "RapidOcrEngine":
    """The engine, on one thread."""
    return RapidOcrEngine(find_models(model_dir))


class RapidOcrEngine:
    """Detector and recogniser of RapidOCR. models: paths under ``det`` and ``rec``; nothing is fetched from anywhere.

    Raises UsageError where a file is no model, or the recogniser has no list of characters in it.
    """

    def __init__(self, models: dict[str, Path]) -> None:
        import cv2
        from rapidocr import RapidOCR

        cv2.setNumThreads(1)
        for part, path in models.items():
            _check_model(part, path)
        # RapidOCR's logger writes to the terminal on its own.
        logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
        config = RapidOCR(
            params={
                "Global.log_level": "critical",
                "Det.model_path": str(models["det"]),
                "Det.limit_type": "max",
                "Det.limit_side_len": DETECTION_SIDE,
                "Det.box_thresh": DETECTION_SCORE,
                "Rec.model_path": str(models["rec"]),
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        ).cfg
        self.min_score: float = config.Global.text_score
        self._preparation = config.Global
        self._load_parts(config)

    def _load_parts(self, config: Any) -> None:
        from rapidocr.ch_ppocr_det import TextDetector
        from rapidocr.ch_ppocr_rec import TextRecognizer

        for part in (config.Det, config.Rec):
            part.engine_cfg = config.EngineConfig[part.engine_type.value]
        config.Rec.font_path = None
        self._detector = TextDetector(config.Det)
        self._recogniser = _with_spaces(TextRecognizer(config.Rec))
        self._errors = _runtime_errors()

    def detect(self, pictures: Sequence[Pixels]) -> list[list[Region]]:
        """The regions of each picture, in reading order. Raises EngineError."""
        try:
            return [self._detect(picture) for picture in pictures]
        except self._errors as error:
            raise _engine_error("detection", error) from error

    def _detect(self, picture: Pixels) -> list[Region]:
        from rapidocr.utils.process_img import (
            apply_vertical_padding,
            get_rotate_crop_image,
            map_boxes_to_original,
            resize_image_within_bounds,
        )

        bounds = self._preparation
        height, width = picture.shape[:2]
        prepared, ratio_h, ratio_w = resize_image_within_bounds(picture, bounds.min_side_len, bounds.max_side_len)
        steps: dict[str, Any] = {"preprocess": {"ratio_h": ratio_h, "ratio_w": ratio_w}}
        prepared, steps = apply_vertical_padding(prepared, steps, bounds.width_height_ratio, bounds.min_height)
        found = self._detector(prepared).boxes
        if found is None:
            return []
        crops = [get_rotate_crop_image(prepared, box.copy()) for box in found]
        boxes = map_boxes_to_original(found.copy(), steps, height, width)
        return [
            Region(tuple(round(float(value), DECIMALS) for value in box.reshape(-1)), crop)
            for box, crop in zip(boxes, crops, strict=True)
        ]

    def recognise(self, crops: Sequence[Pixels]) -> list[Reading]:
        """The text of each crop, every crop padded to a width that depends on its own size alone.

        Raises EngineError.
        """
        by_width: dict[int, list[int]] = defaultdict(list)
        for number, crop in enumerate(crops):
            by_width[padded_width(crop)].append(number)
        readings: dict[int, Reading] = {}
        try:
            for width, numbers in sorted(by_width.items()):
                found = self._recognise([crops[number] for number in numbers], width)
                readings.update(zip(numbers, found, strict=True))
        except self._errors as error:
            raise _engine_error("recognition", error) from error
        return [readings[number] for number in range(len(crops))]

    def _recognise(self, crops: list[Pixels], width: int) -> list[Reading]:
        from rapidocr.ch_ppocr_rec import TextRecInput

        self._recogniser.rec_image_shape = [3, CROP_HEIGHT, width]
        result = self._recogniser(TextRecInput(img=crops))
        texts = result.txts or ()
        return [Reading(text, float(score)) for text, score in zip(texts, result.scores, strict=True)]


def _with_spaces(recogniser: Any) -> Any:
    """The recogniser, its decoder replaced by one that puts lost spaces back."""
    recogniser.postprocess_op = SpacingDecoder(recogniser.postprocess_op)
    return recogniser


def padded_width(crop: Pixels) -> int:
    """Pixels across that the recogniser gets of a crop, text and padding."""
    text_width = math.ceil(CROP_HEIGHT * crop.shape[1] / crop.shape[0])
    return max(MIN_CROP_WIDTH, math.ceil(text_width / CROP_WIDTH_STEP) * CROP_WIDTH_STEP)


def _check_model(part: str, path: Path) -> None:
    """A recogniser without its characters would make RapidOCR look for them on the network."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except _onnxruntime_errors() as error:
        raise UsageError(f"{path}: no ONNX model that ONNX Runtime can load") from error
    if part == "rec" and "character" not in session.get_modelmeta().custom_metadata_map:
        raise UsageError(f"{path}: no list of characters in the model's metadata (key 'character')")


def _onnxruntime_errors() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NotImplemented


def _runtime_errors() -> tuple[type[Exception], ...]:
    """What a picture can make the parts raise; anything else is a mistake in the program."""
    import cv2
    from rapidocr.ch_ppocr_det.utils import ResizeImgError as DetectorResizeError
    from rapidocr.inference_engine.onnxruntime.main import ONNXRuntimeError
    from rapidocr.utils.process_img import ResizeImgError

    arithmetic = (ValueError, LookupError, ArithmeticError, MemoryError)
    return ONNXRuntimeError, ResizeImgError, DetectorResizeError, cv2.error, np.linalg.LinAlgError, *arithmetic


def _engine_error(step: str, error: Exception) -> EngineError:
    lines = str(error).strip().splitlines() or [""]
    return EngineError(f"{step}: {type(error).__name__}: {lines[-1]}"[:200])
