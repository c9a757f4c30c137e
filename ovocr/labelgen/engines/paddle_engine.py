"""PaddleOCR as an engine: its detector, recogniser and geometry on PaddlePaddle or ONNX Runtime, with our own batches.

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
from ovocr.dataset.boxes import DECIMALS
from ovocr.labelgen.engines.batching import MIN_CROP_WIDTH
from ovocr.labelgen.engines.interface import Batching, EngineError, Pixels, Prepared, Reading, Region
from ovocr.labelgen.engines.lost_spaces import MIN_PROBABILITY, LostSpaces
from ovocr.labelgen.engines.paddle_models import Backend, PaddleModel

DETECTION_SIDE = 960  # the longer side that the detector sees
# Regions that the detector is less sure of are left out. PaddleOCR asks 0.6, which loses small words.
DETECTION_SCORE = 0.4
# Thinner regions hold no text; PaddleOCR 2 left them out too (filter_tag_det_res). At a border they can be empty.
MIN_REGION_SIDE = 3
MIN_SCORE = 0.5
# On one thread a batch takes as long as its items one by one, and ONNX Runtime gives other last digits in a batch.
# Steps of 32 read a little better than 8, and cost no more: oneDNN prepares itself for every width that is new to it.
CPU_BATCHING = Batching(pictures=1, crops=1, crop_height=48, width_step=32)
# cuBLAS and cuDNN choose their kernels by the size of a batch: it is always the same.
GPU_BATCHING = Batching(pictures=8, crops=64, crop_height=48, width_step=32, full=True)
WORKERS_PER_GPU = 4


@dataclass(frozen=True)
class PaddlePlan:
    """The engine with these models. gpus: how many it can use. onednn: does PaddlePaddle compute with it on a CPU?"""

    det: PaddleModel
    rec: PaddleModel
    gpus: int = 0
    onednn: bool = False
    notice: str | None = None

    @property
    def backend(self) -> Backend:
        """What runs the networks of both models."""
        return self.det.backend

    @property
    def batching(self) -> Batching:
        """As the device wants it."""
        return replace(GPU_BATCHING if self.gpus else CPU_BATCHING, crop_height=self.rec.crop_height)

    @property
    def images_at_once(self) -> int:
        """How many pictures a worker should have at hand."""
        return 32 if self.gpus else 4

    @property
    def workers(self) -> int | None:
        """How many workers are of use: a few that take turns on each GPU, or one for each core."""
        return WORKERS_PER_GPU * self.gpus if self.gpus else None

    def describe(self) -> dict[str, Any]:
        """Settings, hashes and versions that the results depend on."""
        batching = self.batching
        settings = {
            "backend": self.backend,
            "device": "gpu" if self.gpus else "cpu",
            "onednn": self.onednn,
            "detection_side": DETECTION_SIDE,
            "detection_score": DETECTION_SCORE,
            "min_score": MIN_SCORE,
            "crop_width_step": batching.width_step,
            "min_crop_width": MIN_CROP_WIDTH,
            "space_probability": MIN_PROBABILITY,
        }
        if batching.full:
            settings |= {"picture_batch": batching.pictures, "crop_batch": batching.crops}
        return {
            "name": "paddleocr",
            "models": {"det": self.det.sha256(), "rec": self.rec.sha256()},
            "settings": settings,
            "versions": {package: version(package) for package in ("paddleocr", "paddlex", _package(self.backend))},
        }

    def load(self, worker: int = 0) -> "PaddleEngine":
        """The engine, on one thread or one GPU. The models have been tried: what fails now is no mistake of a user."""
        return PaddleEngine(self, f"gpu:{worker % self.gpus}" if self.gpus else "cpu")


def name_runtime(backend: Backend) -> str:
    """The installed package that runs networks, and its version."""
    package = _package(backend)
    return f"{package} {version(package)}"


def _package(backend: Backend) -> str:
    """Name of the installed package that runs networks: builds of both for GPUs have names of their own."""
    module = {"paddlepaddle": "paddle", "onnxruntime": "onnxruntime"}[backend]
    names = packages_distributions().get(module)
    if not names:
        raise OvocrError(f"the module {module} is there, but no installed package that it belongs to; reinstall it")
    return sorted(set(names))[-1]


class PaddleEngine:
    """Detector and recogniser of PaddleOCR. device: cpu, or gpu:N. Nothing is fetched from anywhere."""

    min_score = MIN_SCORE

    def __init__(self, plan: PaddlePlan, device: str) -> None:
        # A GPU that is lost would be replaced by the CPU without a word. Read when PaddleX is imported.
        os.environ.setdefault("PADDLE_PDX_DISABLE_DEVICE_FALLBACK", "True")
        import cv2
        from paddlex.inference.pipelines.components import CropByPolys, SortQuadBoxes

        cv2.setNumThreads(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PaddlePaddle has one about a compiler cache
            self._detector, self._recogniser = _load_modules(plan, device)
        self.batching = plan.batching
        self._recogniser.post_op = _SpacingDecoder(self._recogniser.post_op)
        self._sort: Any = SortQuadBoxes()
        self._crop: Any = CropByPolys(det_box_type="quad")
        self._errors = _runtime_errors()

    def prepare(self, picture: Pixels) -> Prepared:
        """A picture as the detector wants it. Raises EngineError."""
        steps = self._detector.pre_tfs
        try:
            resized, shapes = steps["Resize"](steps["Read"]([picture]))
            (tensor,) = steps["ToBatch"](steps["ToCHW"](steps["Normalize"](resized)))
        except self._errors as error:
            raise EngineError.at("detection", error) from error
        return Prepared(tensor[0], _Source(picture, shapes[0]))

    def detect(self, pictures: Sequence[Prepared]) -> list[list[Region]]:
        """The regions of each picture, in reading order. Raises EngineError."""
        try:
            maps = self._detector.runner(x=[np.stack([picture.tensor for picture in pictures])])
            found, _ = self._detector.post_op(maps, [picture.source.shape for picture in pictures])
            return [
                self._regions(corners, picture.source.pixels) for corners, picture in zip(found, pictures, strict=True)
            ]
        except self._errors as error:
            raise EngineError.at("detection", error) from error

    def _regions(self, found: npt.NDArray[np.int16], pixels: Pixels) -> list[Region]:
        """found: [regions, 4, 2], corners from the top left clockwise, x before y."""
        corners = self._sort([box for box in found if _thickness(box) > MIN_REGION_SIDE])
        return [
            Region(tuple(round(float(value), DECIMALS) for value in box.reshape(-1)), crop)
            for box, crop in zip(corners, self._crop(pixels, corners), strict=True)
        ]

    def recognise(self, crops: Sequence[Pixels], width: int) -> list[Reading]:
        """The text of each crop. Raises EngineError."""
        scaling = self._recogniser.pre_tfs["ReisizeNorm"]
        # PaddleX takes the ratio of these two and multiplies it by the height again: half a pixel keeps that from
        # ending below the width. By itself it pads to 320 or the widest crop of a batch, and squeezes one over 3200.
        scaling.rec_image_shape = [3, self.batching.crop_height, width + 0.5]
        scaling.max_imgW = width
        try:
            results = list(self._recogniser.predict(list(crops), batch_size=len(crops)))
        except self._errors as error:
            raise EngineError.at("recognition", error) from error
        return [Reading(result["rec_text"], float(result["rec_score"])) for result in results]


@dataclass(frozen=True, eq=False)
class _Source:
    """What boxes and crops are made from. pixels: the picture as given. shape: as DBPostProcess wants it."""

    pixels: Pixels
    shape: npt.NDArray[np.float64]


class _SpacingDecoder:
    """PaddleX's CTC decoder, given the lost spaces. decoder: a CTCLabelDecode, whose last character is the space."""

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder
        self._spaces = LostSpaces(decoder.character)

    def __call__(self, outputs: list[npt.NDArray[np.float32]], **_: Any) -> tuple[list[str], list[float]]:
        """Texts and scores of a batch. outputs: the recogniser's only one, as LostSpaces wants it."""
        lines = self._decoder.decode(*self._spaces.restore(outputs[0]), is_remove_duplicate=True)
        return [text for text, _ in lines], [score for _, score in lines]


def _load_modules(plan: PaddlePlan, device: str) -> tuple[Any, Any]:
    """PaddleX's predictors for detection and recognition."""
    from paddleocr import TextDetection, TextRecognition

    logging.getLogger("paddlex").setLevel(logging.CRITICAL)
    runtime = {"device": device, **_runtime(plan)}
    det = TextDetection(
        model_name=plan.det.name,
        model_dir=str(plan.det.folder),
        limit_type="max",
        limit_side_len=DETECTION_SIDE,
        box_thresh=DETECTION_SCORE,
        **runtime,
    )
    rec = TextRecognition(model_name=plan.rec.name, model_dir=str(plan.rec.folder), **runtime)
    return det.paddlex_predictor, rec.paddlex_predictor


def _runtime(plan: PaddlePlan) -> dict[str, Any]:
    """How PaddleX is to run the networks: on one thread, or on a GPU."""
    if plan.backend == "onnxruntime":
        # Memory is planned for one shape; here each call has another, and planning costs more than it saves.
        threads = {"intra_op_num_threads": 1, "inter_op_num_threads": 1}
        return {
            "engine": "onnxruntime",
            "engine_config": {**threads, "enable_mem_pattern": False, "log_severity_level": 4},
        }
    mode = "mkldnn" if plan.onednn and not plan.gpus else "paddle"
    return {"engine": "paddle_static", "engine_config": {"run_mode": mode, "cpu_threads": 1}}


def _thickness(box: npt.NDArray[np.int16]) -> float:
    """The shorter of width and height of a quadrangle, in pixels; box: [4, 2]."""
    top_left, top_right, _, bottom_left = box.astype(np.float64)
    return float(min(np.linalg.norm(top_left - top_right), np.linalg.norm(top_left - bottom_left)))


def _runtime_errors() -> tuple[type[Exception], ...]:
    """What a picture can make the parts raise; anything else is a mistake in the program, or a device that is lost.

    PaddlePaddle raises Python's own (paddle/fluid/pybind/exception.cc): ValueError for shapes, MemoryError for a full
    device, RuntimeError for most others; its OSError and SystemError are of CUDA and of itself, and no picture's fault.
    """
    import cv2
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    arithmetic = (ValueError, LookupError, ArithmeticError, MemoryError, np.linalg.LinAlgError)
    return state.Fail, state.InvalidArgument, state.RuntimeException, cv2.error, RuntimeError, *arithmetic
