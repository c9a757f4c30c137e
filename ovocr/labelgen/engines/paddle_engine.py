"""The PaddleOCR engine: its detector, recogniser and geometry on PaddlePaddle or ONNX Runtime, with our batching.

Source: PaddleOCR 3.7's modules TextDetection and TextRecognition, and PaddleX 3.7's ``pipelines/ocr`` (order of steps).
"""

import logging
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import packages_distributions, version
from typing import Any

import numpy as np
import numpy.typing as npt

from ovocr.base.errors import OvocrError
from ovocr.labelgen.engines.batching import MIN_CROP_WIDTH
from ovocr.labelgen.engines.character_edges import centers_in_crop
from ovocr.labelgen.engines.closer_look import FIRST_SIDE, REJECTED_SCORE, SETTINGS, detector_side
from ovocr.labelgen.engines.interface import (
    Batching,
    Detection,
    EngineError,
    Pixels,
    Prepared,
    Reading,
    Region,
    box_at,
)
from ovocr.labelgen.engines.lost_spaces import MIN_PROBABILITY, LostSpaces
from ovocr.labelgen.engines.paddle_models import Backend, PaddleModel

# Regions with a lower score are left out. PaddleOCR's 0.6 loses small words.
DETECTION_SCORE = 0.4
# Margin that the detector leaves around text, as a share of a line's thickness: benchmarks/word_boxes.py.
BOX_MARGIN = 0.03
# Thinner regions contain no text, and can be empty at a border. PaddleOCR 2 also left them out (filter_tag_det_res).
MIN_REGION_SIDE = 3
MIN_SCORE = 0.5
# On one thread batches save no time, and ONNX Runtime's last digits depend on the batch.
# Width steps of 32 read slightly better than 8 and cost no more, because oneDNN prepares for every new width.
CPU_BATCHING = Batching(images=1, crops=1, crop_height=48, width_step=32)
# cuBLAS and cuDNN choose kernels by batch size, so all batches have the same size.
GPU_BATCHING = Batching(images=8, crops=64, crop_height=48, width_step=32, full=True)
WORKERS_PER_GPU = 4


@dataclass(frozen=True)
class PaddlePlan:
    """A plan of PaddleOCR. gpus: number of usable GPUs. onednn: True if PaddlePaddle uses oneDNN on a CPU."""

    det: PaddleModel
    rec: PaddleModel
    gpus: int = 0
    onednn: bool = False
    notice: str | None = None

    @property
    def backend(self) -> Backend:
        """The runtime of both models."""
        return self.det.backend

    @property
    def batching(self) -> Batching:
        """Batch sizes for the device."""
        return replace(GPU_BATCHING if self.gpus else CPU_BATCHING, crop_height=self.rec.crop_height)

    @property
    def images_at_once(self) -> int:
        """Number of images that a worker should read together."""
        return 32 if self.gpus else 4

    @property
    def workers(self) -> int | None:
        """Useful number of workers: a few that share each GPU, or None for one per core."""
        return WORKERS_PER_GPU * self.gpus if self.gpus else None

    def describe(self) -> dict[str, Any]:
        """Returns the settings, hashes and versions that results depend on."""
        batching = self.batching
        settings = {
            "backend": self.backend,
            "device": "gpu" if self.gpus else "cpu",
            "onednn": self.onednn,
            "detection_score": DETECTION_SCORE,
            "box_margin": BOX_MARGIN,
            **SETTINGS,
            "min_score": MIN_SCORE,
            "crop_width_step": batching.width_step,
            "min_crop_width": MIN_CROP_WIDTH,
            "space_probability": MIN_PROBABILITY,
        }
        if batching.full:
            settings |= {"picture_batch": batching.images, "crop_batch": batching.crops}
        return {
            "name": "paddleocr",
            "models": {"det": self.det.sha256(), "rec": self.rec.sha256()},
            "settings": settings,
            "versions": {package: version(package) for package in ("paddleocr", "paddlex", _package(self.backend))},
        }

    def load(self, worker: int = 0) -> "PaddleEngine":
        """Loads the engine on one thread or one GPU. The models passed a trial, so a failure is a bug."""
        return PaddleEngine(self, f"gpu:{worker % self.gpus}" if self.gpus else "cpu")


def name_runtime(backend: Backend) -> str:
    """Returns name and version of the installed package that runs networks."""
    package = _package(backend)
    return f"{package} {version(package)}"


def _package(backend: Backend) -> str:
    """Returns the name of the installed package that runs networks. Builds for GPUs have different names."""
    module = {"paddlepaddle": "paddle", "onnxruntime": "onnxruntime"}[backend]
    names = packages_distributions().get(module)
    if not names:
        raise OvocrError(f"the module {module} belongs to no installed package; reinstall it")
    return sorted(set(names))[-1]


class PaddleEngine:
    """Detector and recogniser of PaddleOCR. device: "cpu" or "gpu:N". Downloads nothing."""

    min_score = MIN_SCORE

    def __init__(self, plan: PaddlePlan, device: str) -> None:
        # Otherwise PaddleX silently replaces a lost GPU by the CPU. PaddleX reads this when it is imported.
        os.environ.setdefault("PADDLE_PDX_DISABLE_DEVICE_FALLBACK", "True")
        import cv2
        from paddlex.inference.pipelines.components import CropByPolys, SortQuadBoxes

        cv2.setNumThreads(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PaddlePaddle warns about a compiler cache
            self._detector, self._recogniser = _load_modules(plan, device)
        self.batching = plan.batching
        self._recogniser.post_op = _SpacingDecoder(self._recogniser.post_op)
        self._sort: Any = SortQuadBoxes()
        self._crop: Any = CropByPolys(det_box_type="quad")
        self._errors = _runtime_errors()

    def prepare(self, image: Pixels, look: int = 0) -> Prepared | None:
        """Returns the detector's input for an image; None if a look would not enlarge it.

        look: as in ``Engine``. Raises EngineError.
        """
        steps = self._detector.pre_tfs
        side = detector_side(max(image.shape[:2]), look)
        if side is None:
            return None
        try:
            resized, shapes = steps["Resize"](
                steps["Read"]([image]), limit_side_len=side, limit_type="resize_long" if look else "max"
            )
            (tensor,) = steps["ToBatch"](steps["ToCHW"](steps["Normalize"](resized)))
        except self._errors as error:
            raise EngineError.at("detection", error) from error
        return Prepared(tensor[0], _Source(image, shapes[0]))

    def detect(self, images: Sequence[Prepared]) -> list[Detection]:
        """Returns the areas with text of each image. Raises EngineError."""
        try:
            maps = self._detector.runner(x=[np.stack([image.tensor for image in images])])
            found, scores = self._detector.post_op(maps, [image.source.shape for image in images])
            return [self._detection(*result) for result in zip(found, scores, images, strict=True)]
        except self._errors as error:
            raise EngineError.at("detection", error) from error

    def _detection(self, found: npt.NDArray[np.int16], scores: Sequence[float], image: Prepared) -> Detection:
        """Returns the areas of one image. found: [areas, 4, 2], corners clockwise from the top left, x before y."""
        scored = [(box, score) for box, score in zip(found, scores, strict=True) if _thickness(box) > MIN_REGION_SIDE]
        corners = self._sort([box for box, score in scored if score >= DETECTION_SCORE])
        pixels = image.source.pixels
        return Detection(
            regions=[Region.at(box, crop) for box, crop in zip(corners, self._crop(pixels, corners), strict=True)],
            rejected=[box_at(box) for box, score in scored if score < DETECTION_SCORE],
            scale=image.tensor.shape[2] / pixels.shape[1],
        )

    def recognise(self, crops: Sequence[Pixels], width: int) -> list[Reading]:
        """Returns the text of each crop. Raises EngineError."""
        scaling = self._recogniser.pre_tfs["ReisizeNorm"]
        # PaddleX divides width by height and multiplies by the height again; half a pixel keeps the result from falling
        # below the width. Its defaults are to pad to 320 or the widest crop of a batch and to squeeze crops over 3200.
        scaling.rec_image_shape = [3, self.batching.crop_height, width + 0.5]
        scaling.max_imgW = width
        try:
            results = list(self._recogniser.predict(list(crops), batch_size=len(crops)))
        except self._errors as error:
            raise EngineError.at("recognition", error) from error
        return [
            self._reading(result["rec_text"], float(result["rec_score"]), crop, width)
            for result, crop in zip(results, crops, strict=True)
        ]

    def _reading(self, found: "tuple[str, _ReadText]", score: float, crop: Pixels, width: int) -> Reading:
        """Returns a reading. PaddleX reorders Arabic text after it was read; its characters then have no centers."""
        text, read = found
        if text != read.text:
            return Reading(text, score)
        return Reading(text, score, centers_in_crop(read.positions, crop, width, self.batching))


@dataclass(frozen=True, eq=False)
class _Source:
    """Data for boxes and crops. pixels: the given image. shape: its shape for DBPostProcess."""

    pixels: Pixels
    shape: npt.NDArray[np.float64]


class _SpacingDecoder:
    """PaddleX's CTC decoder with lost spaces restored. decoder: a CTCLabelDecode, whose last character is the space."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._spaces = LostSpaces(decoder.character)

    def __call__(
        self, outputs: list[npt.NDArray[np.float32]], **_: Any
    ) -> tuple[list[tuple[str, "_ReadText"]], list[float]]:
        """Returns texts and scores of a batch. PaddleX passes the second part of a text on without reading it.

        outputs: the recogniser's only output, as in ``LostSpaces.restore``.
        """
        best, probabilities = self._spaces.restore(outputs[0])
        lines = self._decoder.decode(best, probabilities, is_remove_duplicate=True)
        texts = [
            (text, _ReadText(text, self._spaces.positions(crop_best)))
            for (text, _), crop_best in zip(lines, best, strict=True)
        ]
        return texts, [score for _, score in lines]


@dataclass(frozen=True, eq=False)
class _ReadText:
    """The text of a crop as it was read. positions: as in ``LostSpaces.positions``."""

    text: str
    positions: npt.NDArray[np.float64]


def _load_modules(plan: PaddlePlan, device: str) -> tuple[Any, Any]:
    """Returns PaddleX's predictors for detection and recognition."""
    from paddleocr import TextDetection, TextRecognition

    logging.getLogger("paddlex").setLevel(logging.CRITICAL)
    runtime = {"device": device, **_runtime(plan)}
    det = TextDetection(
        model_name=plan.det.name,
        model_dir=str(plan.det.folder),
        limit_type="max",
        limit_side_len=FIRST_SIDE,
        box_thresh=REJECTED_SCORE,
        **runtime,
    )
    rec = TextRecognition(model_name=plan.rec.name, model_dir=str(plan.rec.folder), **runtime)
    return det.paddlex_predictor, rec.paddlex_predictor


def _runtime(plan: PaddlePlan) -> dict[str, Any]:
    """Returns PaddleX's settings for one thread or a GPU."""
    if plan.backend == "onnxruntime":
        # Memory patterns are planned per shape. Here shapes change with each call, so planning costs more than it
        # saves.
        threads = {"intra_op_num_threads": 1, "inter_op_num_threads": 1}
        return {
            "engine": "onnxruntime",
            "engine_config": {**threads, "enable_mem_pattern": False, "log_severity_level": 4},
        }
    mode = "mkldnn" if plan.onednn and not plan.gpus else "paddle"
    return {"engine": "paddle_static", "engine_config": {"run_mode": mode, "cpu_threads": 1}}


def _thickness(box: npt.NDArray[np.int16]) -> float:
    """Returns the shorter of width and height of a quadrangle, in pixels. box: [4, 2]."""
    top_left, top_right, _, bottom_left = box.astype(np.float64)
    return float(min(np.linalg.norm(top_left - top_right), np.linalg.norm(top_left - bottom_left)))


def _runtime_errors() -> tuple[type[Exception], ...]:
    """Returns the errors that an image can cause. Any other error is a bug or a lost device.

    PaddlePaddle raises Python's errors (paddle/fluid/pybind/exception.cc): ValueError for shapes, MemoryError for a
    full device, RuntimeError for most others. Its OSError and SystemError come from CUDA and itself, not from images.
    """
    import cv2
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    arithmetic = (ValueError, LookupError, ArithmeticError, MemoryError, np.linalg.LinAlgError)
    return state.Fail, state.InvalidArgument, state.RuntimeException, cv2.error, RuntimeError, *arithmetic
