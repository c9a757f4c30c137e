"""Finds and checks PaddleOCR's models: folders with inference.yml and the network's files, given or downloaded by name.

Source: PaddleX 3.7, ``inference/models/utils/model_paths.py`` (files) and ``inference/utils/official_models.py``.
"""

import contextlib
import hashlib
import logging
import re
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from ovocr.base.errors import OvocrError, UsageError
from ovocr.labelgen.engines.interface import EngineChoice

Backend = Literal["paddlepaddle", "onnxruntime"]

CONFIGURATION = "inference.yml"
# A network's files. The first complete pair counts, as in PaddleX.
_PADDLE_FILES = (("inference.json", "inference.pdiparams"), ("inference.pdmodel", "inference.pdiparams"))
_ONNX_FILES = ("inference.onnx",)
_FORMATS: dict[Backend, str] = {"paddlepaddle": "paddle", "onnxruntime": "onnx"}
_DECODERS = {"det": "DBPostProcess", "rec": "CTCLabelDecode"}
# The defaults of PaddleOCR 3.7, named here so that a later release does not change the models of data sets.
DEFAULT_MODELS = {"det": "PP-OCRv6_medium_det", "rec": "PP-OCRv6_medium_rec"}


@dataclass(frozen=True)
class PaddleModel:
    """A detector or recogniser on disk. name: PaddleOCR's name of it.

    files: names of its files in ``folder``, including inference.yml.
    crop_height: height of a recogniser's input, in pixels; 0 for a detector.
    """

    name: str
    folder: Path
    files: tuple[str, ...]
    backend: Backend
    crop_height: int = 0

    def sha256(self) -> str:
        """Returns one hex digest of the names and bytes of all files."""
        digest = hashlib.sha256()
        for name in self.files:
            digest.update(name.encode() + b"\0" + hashlib.sha256((self.folder / name).read_bytes()).digest())
        return digest.hexdigest()


def find_paddle_models(choice: EngineChoice) -> tuple[PaddleModel, PaddleModel]:
    """Returns detector and recogniser of ``choice.model_dir``, or of its model names, downloading them if needed.

    Raises UsageError if a folder is not a model or a name is unknown, and OvocrError if a download fails.
    """
    if choice.model_dir is not None:
        det, rec = (_read_model(part, choice.model_dir / part, "--model-dir: ") for part in ("det", "rec"))
    else:
        det = _official_model("det", choice.det_model or DEFAULT_MODELS["det"])
        rec = _official_model("rec", choice.rec_model or DEFAULT_MODELS["rec"])
    if det.backend != rec.backend:
        raise UsageError(
            f"--model-dir: {det.folder} is for {det.backend}, {rec.folder} for {rec.backend}; use models of one kind"
        )
    return det, rec


def _read_model(part: str, folder: Path, option: str = "") -> PaddleModel:
    backend, files = _network_files(folder, option)
    path = folder / CONFIGURATION
    if not path.is_file():
        raise UsageError(f"{option}{path}: no such file; copy the whole folder of the model, which has this file")
    config = _read_configuration(path)
    try:
        name = str(config["Global"]["model_name"])
        steps = {key: value for step in config["PreProcess"]["transform_ops"] for key, value in step.items()}
        decoding = config["PostProcess"]
        if decoding["name"] != _DECODERS[part]:
            raise UsageError(f"{path}: PostProcess is {decoding['name']}, but {part}/ needs {_DECODERS[part]}")
        crop_height = (
            _check_recogniser(path, steps, decoding) if part == "rec" else _check_detector(path, steps, decoding)
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UsageError(
            f"{path}: not a configuration that PaddleOCR writes for {part}/ ({type(error).__name__}: {error})"
        ) from error
    return PaddleModel(name, folder, (CONFIGURATION, *files), backend, crop_height)


def _network_files(folder: Path, option: str) -> tuple[Backend, tuple[str, ...]]:
    found: list[tuple[Backend, tuple[str, ...]]] = []
    for files in _PADDLE_FILES:
        if all((folder / name).is_file() for name in files):
            found.append(("paddlepaddle", files))
            break
    if all((folder / name).is_file() for name in _ONNX_FILES):
        found.append(("onnxruntime", _ONNX_FILES))
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{option}{folder} contains a Paddle model and inference.onnx; keep only one of them")
    raise UsageError(
        f"{option}{folder} contains no model; it needs inference.json or inference.pdmodel with inference.pdiparams, "
        "or inference.onnx"
    )


def _read_configuration(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a YAML file ({str(error).splitlines()[0]})") from error


def _check_detector(path: Path, steps: dict[str, Any], decoding: dict[str, Any]) -> int:
    """Rejects expressions that PaddleX would evaluate as Python, and polygons, which do not have four corners."""
    scale = steps["NormalizeImage"].get("scale", 1)
    if not re.fullmatch(r"[0-9.]+(/[0-9.]+)?", str(scale).replace(" ", "")):
        raise UsageError(f"{path}: NormalizeImage: scale {scale!r} is not a number; 1./255. is usual")
    if decoding.get("box_type", "quad") != "quad":
        raise UsageError(
            f"{path}: a detector of curved text (box_type {decoding['box_type']}); use one with box_type quad"
        )
    return 0


def _check_recogniser(path: Path, steps: dict[str, Any], decoding: dict[str, Any]) -> int:
    """Returns the height of the recogniser's crops.

    Rejects a model without characters, with which PaddleX would read digits and lowercase letters only.
    """
    if not decoding.get("character_dict"):
        raise UsageError(f"{path}: PostProcess has no character_dict, the list of the model's characters")
    _, height, _ = steps["RecResizeImg"]["image_shape"]
    return int(height)


def _official_model(part: str, name: str) -> PaddleModel:
    """Returns a model that PaddleOCR publishes, for PaddlePaddle if it is installed, else for ONNX Runtime."""
    from paddlex.inference.utils.official_models import official_models
    from paddlex.modules.text_detection.model_list import MODELS as DETECTORS
    from paddlex.modules.text_recognition.model_list import MODELS as RECOGNISERS

    known = DETECTORS if part == "det" else RECOGNISERS
    if name not in known:
        nearest = ", ".join(get_close_matches(name, known, 3, 0)) or known[0]
        raise UsageError(f"--{part}-model {name}: PaddleOCR has no such model; the nearest names are {nearest}")
    backend: Backend = "paddlepaddle" if find_spec("paddle") else "onnxruntime"
    logging.getLogger("paddlex").setLevel(logging.CRITICAL)
    try:
        # Downloaders print the addresses they connect to.
        with contextlib.redirect_stdout(sys.stderr):
            folder = Path(official_models.get_model_path(name, model_formats=(_FORMATS[backend],)))
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise OvocrError(
            f"{name}: the model is not on this machine and cannot be downloaded ({reason[0]}); "
            "without a network give a folder of models with --model-dir"
        ) from error
    return _read_model(part, folder)
