"""The RapidOCR engine on ONNX Runtime: its detector, recogniser and geometry, with our batching.

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
import numpy.typing as npt

from ovocr.base.errors import MissingExtraError, OvocrError, UsageError, how_to_install
from ovocr.labelgen.engines.batching import MIN_CROP_WIDTH
from ovocr.labelgen.engines.character_edges import centers_in_crop
from ovocr.labelgen.engines.closer_look import FIRST_SIDE, REJECTED_SCORE, SETTINGS, detector_side
from ovocr.labelgen.engines.interface import (
    Batching,
    Detection,
    EngineChoice,
    EngineError,
    Pixels,
    Prepared,
    Reading,
    Region,
    box_at,
)
from ovocr.labelgen.engines.lost_spaces import MIN_PROBABILITY, SpacingDecoder
from ovocr.labelgen.engines.onnx_models import CROP_HEIGHT, find_onnx_models, load_detector, load_recogniser
from ovocr.labelgen.engines.openvino import Bfloat16Session, check_bfloat16

PACKAGES = ("rapidocr", "onnxruntime")
# Inside RapidOCR's wheel. Named here so that its downloader is never used.
BUNDLED_MODELS = {"det": "PP-OCRv6_det_small.onnx", "rec": "PP-OCRv6_rec_small.onnx"}
# Regions with a lower score are left out. RapidOCR's 0.5 loses isolated digits.
DETECTION_SCORE = 0.4
# Margin that the detector leaves around text, as a share of a line's thickness: benchmarks/word_boxes.py.
BOX_MARGIN = 0.125
# On one thread batches save no time, and the last bits of scores depend on the batch.
BATCHING = Batching(images=1, crops=1, crop_height=CROP_HEIGHT, width_step=8)
IMAGES_AT_ONCE = 4


@dataclass(frozen=True)
class RapidOcrPlan:
    """A plan of RapidOCR. det, rec: paths of .onnx files.

    bfloat16: compute in bfloat16 with OpenVINO, else in float32 with ONNX Runtime.
    """

    det: Path
    rec: Path
    bfloat16: bool = False
    notice: str | None = None
    images_at_once: int = IMAGES_AT_ONCE
    workers: int | None = None
    gpus: int = 0

    def describe(self) -> dict[str, Any]:
        """Returns the settings, hashes and versions that results depend on."""
        models = {"det": self.det, "rec": self.rec}
        packages = (*PACKAGES, "openvino") if self.bfloat16 else PACKAGES
        return {
            "name": "rapidocr",
            "models": {part: hashlib.sha256(path.read_bytes()).hexdigest() for part, path in models.items()},
            "settings": {
                "detection_score": DETECTION_SCORE,
                "box_margin": BOX_MARGIN,
                **SETTINGS,
                "crop_width_step": BATCHING.width_step,
                "min_crop_width": MIN_CROP_WIDTH,
                "space_probability": MIN_PROBABILITY,
                "precision": "bfloat16" if self.bfloat16 else "float32",
            },
            "versions": {package: version(package) for package in packages},
        }

    def load(self, worker: int = 0) -> "RapidOcrEngine":
        """Loads the engine on one thread. Raises UsageError if a file is not the right model, or OvocrError."""
        try:
            return RapidOcrEngine(self.det, self.rec, self.bfloat16)
        except ImportError as error:
            raise OvocrError(
                f"--engine rapidocr: RapidOCR is installed but cannot be imported ({error}); {how_to_install('ocr')}"
            ) from error


def plan(choice: EngineChoice) -> RapidOcrPlan:
    """Returns the engine with the models of ``choice.model_dir`` or of RapidOCR's wheel.

    Raises UsageError if a folder has no model or the processor lacks the precision, and MissingExtraError if packages
    are not installed.
    """
    if option := choice.named_model():
        raise UsageError(f"{option}: RapidOCR downloads no models; use --engine paddleocr, or --model-dir")
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
    """Detector and recogniser of RapidOCR. Downloads nothing.

    det, rec: paths of the models. bfloat16: run the networks with OpenVINO in bfloat16.

    Tries out both models and raises UsageError if a file is not the right model.
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
        # RapidOCR's logger writes to the terminal.
        logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
        config = ParseParams.load(Path(rapidocr.__file__).with_name("config.yaml"))
        # RapidOCR uses the sessions in its configuration.
        parts = OmegaConf.create({"Det": config.Det, "Rec": config.Rec}, flags={"allow_objects": True})
        parts.Det.session = load_detector(det)
        parts.Det.limit_type = "max"
        parts.Det.limit_side_len = FIRST_SIDE
        parts.Det.box_thresh = REJECTED_SCORE
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
        # RapidOCR's double precision takes three times as long for the same pixels.
        self._scale.mean, self._scale.std = np.float32(self._scale.mean), np.float32(self._scale.std)
        self._errors = _runtime_errors()

    def prepare(self, image: Pixels, look: int = 0) -> Prepared | None:
        """Returns the detector's input for an image; None if it shrinks to nothing or a look would not enlarge it.

        look: as in ``Engine``. Raises EngineError.
        """
        from rapidocr.utils.process_img import apply_vertical_padding, resize_image_within_bounds

        bounds = self._bounds
        try:
            resized, ratio_h, ratio_w = resize_image_within_bounds(image, bounds.min_side_len, bounds.max_side_len)
            steps: dict[str, Any] = {"preprocess": {"ratio_h": ratio_h, "ratio_w": ratio_w}}
            resized, steps = apply_vertical_padding(resized, steps, bounds.width_height_ratio, bounds.min_height)
            tensors = self._scale(resized) if self._set_side(*resized.shape[:2], look=look) else None
        except self._errors as error:
            raise EngineError.at("detection", error) from error
        if tensors is None:
            return None
        return Prepared(tensors[0], _Source(resized, steps, *image.shape[:2]))

    def _set_side(self, height: int, width: int, *, look: int) -> bool:
        """Sets the size to which the next image is scaled. Returns False if the look would not enlarge it."""
        longer, shorter = max(height, width), min(height, width)
        side = detector_side(longer, look)
        if side is None:
            return False
        # RapidOCR shrinks an image to a longer side and enlarges it to a shorter one.
        enlarges = side > longer
        self._scale.limit_type = "min" if enlarges else "max"
        self._scale.limit_side_len = round(side * shorter / longer) if enlarges else side
        return True

    def detect(self, images: Sequence[Prepared]) -> list[Detection]:
        """Returns the areas with text of each image. Raises EngineError."""
        try:
            maps = self._detector.session(np.stack([image.tensor for image in images]))
            return [self._detection(maps[number : number + 1], image) for number, image in enumerate(images)]
        except self._errors as error:
            raise EngineError.at("detection", error) from error

    def _detection(self, probability: Any, image: Prepared) -> Detection:
        from rapidocr.utils.process_img import get_rotate_crop_image

        source: _Source = image.source
        scale = image.tensor.shape[2] / source.width
        found, scores = self._detector.postprocess_op(probability, source.pixels.shape[:2])
        if len(found) == 0:
            return Detection([], [], scale)
        accepted = np.array(scores) >= DETECTION_SCORE
        kept = self._detector.sorted_boxes(found[accepted])
        crops = [get_rotate_crop_image(source.pixels, box.copy()) for box in kept]
        regions = [Region.at(box, crop) for box, crop in zip(source.in_image(kept), crops, strict=True)]
        rejected = [box_at(box) for box in source.in_image(found[~accepted])]
        return Detection(regions, rejected, scale)

    def recognise(self, crops: Sequence[Pixels], width: int) -> list[Reading]:
        """Returns the text of each crop. Raises EngineError."""
        from rapidocr.ch_ppocr_rec import TextRecInput

        # RapidOCR pads to this width. Its default is the widest crop of the batch, at least 320.
        self._recogniser.rec_image_shape = [3, BATCHING.crop_height, width]
        try:
            result = self._recogniser(TextRecInput(img=list(crops), return_word_box=True))
        except self._errors as error:
            raise EngineError.at("recognition", error) from error
        found = zip(result.txts, result.scores, result.word_results, crops, strict=True)
        return [
            Reading(text, float(score), centers_in_crop(positions, crop, width, BATCHING))
            for text, score, positions, crop in found
        ]


def _with_spaces(recogniser: Any) -> Any:
    """Replaces the recogniser's decoder by one that restores lost spaces, and returns the recogniser."""
    recogniser.postprocess_op = SpacingDecoder(recogniser.postprocess_op)
    return recogniser


@dataclass(frozen=True, eq=False)
class _Source:
    """Data for boxes and crops. pixels: the image after ``steps``, from which crops are cut.

    steps: the steps for map_boxes_to_original. height, width: size of the given image, in pixels.
    """

    pixels: Pixels
    steps: dict[str, Any]
    height: int
    width: int

    def in_image(self, boxes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Returns the boxes [N, 4, 2] in pixels of the given image."""
        from rapidocr.utils.process_img import map_boxes_to_original

        mapped: npt.NDArray[Any] = map_boxes_to_original(boxes.copy(), self.steps, self.height, self.width)
        return mapped


def _runtime_errors() -> tuple[type[Exception], ...]:
    """Returns the errors that an image can cause. Any other error is a bug."""
    import cv2
    from rapidocr.ch_ppocr_det.utils import ResizeImgError as DetectorResizeError
    from rapidocr.inference_engine.onnxruntime.main import ONNXRuntimeError
    from rapidocr.utils.process_img import ResizeImgError

    # OpenVINO has no error type of its own: it raises RuntimeError.
    arithmetic = (ValueError, LookupError, ArithmeticError, MemoryError, RuntimeError)
    return ONNXRuntimeError, ResizeImgError, DetectorResizeError, cv2.error, np.linalg.LinAlgError, *arithmetic
