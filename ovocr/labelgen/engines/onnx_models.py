"""Finds and loads ONNX models of a detector and a recogniser, and tries them out before any image is read."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from ovocr.base.errors import UsageError
from ovocr.labelgen.engines.batching import MIN_CROP_WIDTH
from ovocr.labelgen.engines.interface import reason_of

CROP_HEIGHT = 48  # height of the recogniser's input, in pixels
# The smallest input of a detector, which halves its sides five times.
_TRIAL_SIDE = 32
# Metadata key of a model's characters, one per line. RapidOCR adds the blank before them and a space after them.
_CHARACTERS = "character"
_ADDED_CHARACTERS = 2


def find_onnx_models(model_dir: Path) -> tuple[Path, Path]:
    """Returns the .onnx files of detector and recogniser. Raises UsageError unless there is one of each, or OSError."""
    return _only_model(model_dir / "det"), _only_model(model_dir / "rec")


def _only_model(folder: Path) -> Path:
    models = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".onnx")
    if len(models) != 1:
        raise UsageError(f"--model-dir: {folder} must contain one .onnx file, but contains {len(models)}")
    (model,) = models
    if not model.is_file():
        problem = f"a link to {os.readlink(model)}, which is not a file" if model.is_symlink() else "not a file"
        raise UsageError(f"--model-dir: {model}: {problem}; put the model there")
    return model


def load_detector(path: Path) -> Any:
    """Returns an ONNX Runtime session with one thread. Raises UsageError if the file is not a text detection model."""
    session = _load(path)
    shape = _output_shape(path, session, "text detection", (_TRIAL_SIDE, _TRIAL_SIDE))
    if shape != (1, 1, _TRIAL_SIDE, _TRIAL_SIDE):
        raise UsageError(
            f"{path}: not a text detection model (its output is {shape}, not one value for each pixel); put one there"
        )
    return session


def load_recogniser(path: Path) -> Any:
    """Returns an ONNX Runtime session with one thread.

    Raises UsageError if the file is not a text recognition model or has no list of characters, which RapidOCR would
    download.
    """
    session = _load(path)
    shape = _output_shape(path, session, "text recognition", (CROP_HEIGHT, MIN_CROP_WIDTH))
    if len(shape) != 3 or shape[0] != 1:
        raise UsageError(
            f"{path}: not a text recognition model (its output is {shape}, not characters in columns); put one there"
        )
    metadata = session.get_modelmeta().custom_metadata_map
    if _CHARACTERS not in metadata:
        raise UsageError(
            f"{path}: no list of characters in the model's metadata (key {_CHARACTERS!r}); use a model that has it"
        )
    characters = len(metadata[_CHARACTERS].splitlines()) + _ADDED_CHARACTERS
    if shape[2] != characters:
        raise UsageError(
            f"{path}: the network has {shape[2]} characters, but the list in its metadata (key {_CHARACTERS!r}) "
            f"gives {characters}; use a model with its own list"
        )
    return session


def _load(path: Path) -> Any:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # Memory patterns are planned per shape. Here shapes change with each call, so planning costs more than it saves.
    options.enable_mem_pattern = False
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except state.NoSuchFile as error:
        raise UsageError(f"{path}: no such file; put the model there") from error
    except _onnxruntime_errors() as error:
        raise UsageError(f"{path}: ONNX Runtime cannot load this model ({reason_of(error)})") from error


def _output_shape(path: Path, session: Any, purpose: str, size: tuple[int, int]) -> tuple[int, ...]:
    """Returns the shape of the first output for a black image. size: height, width. Takes a few milliseconds."""
    image = np.zeros((1, 3, *size), np.float32)
    try:
        output = session.run(None, {given.name: image for given in session.get_inputs()[:1]})[0]
    except _onnxruntime_errors() as error:
        raise UsageError(
            f"{path}: not a {purpose} model (it refuses an image of {size[1]} x {size[0]} pixels: "
            f"{reason_of(error)}); put one there"
        ) from error
    return tuple(getattr(output, "shape", ()))  # an output may also be a sequence or a map


def _onnxruntime_errors() -> tuple[type[Exception], ...]:
    """Returns the errors that ONNX Runtime raises for wrong files and models. They have no common base class.

    ValueError is raised for a network with several inputs.
    """
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    loading = (state.InvalidGraph, state.InvalidProtobuf, state.NoModel, state.NotFound)
    return state.Fail, state.InvalidArgument, state.NotImplemented, state.RuntimeException, ValueError, *loading
