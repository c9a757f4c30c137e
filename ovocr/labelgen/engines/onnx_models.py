"""A detector and a recogniser in ONNX form: found in a folder, loaded, and tried out before any picture is read."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from ovocr.base.errors import UsageError
from ovocr.labelgen.engines.batching import MIN_CROP_WIDTH
from ovocr.labelgen.engines.interface import reason_of

CROP_HEIGHT = 48  # pixels; what a recogniser sees
# The smallest picture that a detector can take, which halves it five times.
_TRIAL_SIDE = 32
# In a model's metadata: its characters, one a line. RapidOCR puts "no new character" before them, a space behind.
_CHARACTERS = "character"
_ADDED_CHARACTERS = 2


def find_onnx_models(model_dir: Path) -> tuple[Path, Path]:
    """The .onnx files of detector and recogniser. Raises UsageError where there is not one of each, OSError."""
    return _only_model(model_dir / "det"), _only_model(model_dir / "rec")


def _only_model(folder: Path) -> Path:
    models = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".onnx")
    if len(models) != 1:
        raise UsageError(f"--model-dir: {folder} must hold one .onnx file, there are {len(models)}")
    (model,) = models
    if not model.is_file():
        is_what = f"a link to {os.readlink(model)}, which is no file" if model.is_symlink() else "not a file"
        raise UsageError(f"--model-dir: {model}: {is_what}; put the model there")
    return model


def load_detector(path: Path) -> Any:
    """An ONNX Runtime session of one thread. Raises UsageError where the file is no text detection model."""
    session = _load(path)
    shape = _output_shape(path, session, "text detection", (_TRIAL_SIDE, _TRIAL_SIDE))
    if shape != (1, 1, _TRIAL_SIDE, _TRIAL_SIDE):
        raise UsageError(
            f"{path}: not a text detection model (its output is {shape}, not one value for each pixel); put one there"
        )
    return session


def load_recogniser(path: Path) -> Any:
    """An ONNX Runtime session of one thread. Raises UsageError where the file is no text recognition model.

    Nor may one be without its list of characters, which RapidOCR would look for on the network.
    """
    session = _load(path)
    shape = _output_shape(path, session, "text recognition", (CROP_HEIGHT, MIN_CROP_WIDTH))
    if len(shape) != 3 or shape[0] != 1:
        raise UsageError(
            f"{path}: not a text recognition model (its output is {shape}, not characters in columns); put one there"
        )
    metadata = session.get_modelmeta().custom_metadata_map
    if _CHARACTERS not in metadata:
        raise UsageError(f"{path}: no list of characters in the model's metadata (key {_CHARACTERS!r})")
    characters = len(metadata[_CHARACTERS].splitlines()) + _ADDED_CHARACTERS
    if shape[2] != characters:
        raise UsageError(
            f"{path}: the network knows {shape[2]} characters, the list in its metadata (key {_CHARACTERS!r}) "
            f"makes {characters}; take a model with its own list"
        )
    return session


def _load(path: Path) -> Any:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # Memory is planned for one shape; here each call has another, and planning costs more than it saves.
    options.enable_mem_pattern = False
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except state.NoSuchFile as error:
        raise UsageError(f"{path}: no such file; put the model there") from error
    except _onnxruntime_errors() as error:
        raise UsageError(f"{path}: no ONNX model that ONNX Runtime can load ({reason_of(error)})") from error


def _output_shape(path: Path, session: Any, purpose: str, size: tuple[int, int]) -> tuple[int, ...]:
    """Shape of the first output for one black picture; size: height, width. A few milliseconds."""
    picture = np.zeros((1, 3, *size), np.float32)
    try:
        output = session.run(None, {given.name: picture for given in session.get_inputs()[:1]})[0]
    except _onnxruntime_errors() as error:
        raise UsageError(
            f"{path}: not a {purpose} model (it takes no picture of {size[1]} x {size[0]} pixels: {reason_of(error)}); "
            "put one there"
        ) from error
    return tuple(getattr(output, "shape", ()))  # an output may also be a sequence or a map


def _onnxruntime_errors() -> tuple[type[Exception], ...]:
    """What a file that is no model, or another one, makes ONNX Runtime raise: its errors have no base of their own.

    ValueError is for a network of several inputs.
    """
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    loading = (state.InvalidGraph, state.InvalidProtobuf, state.NoModel, state.NotFound)
    return state.Fail, state.InvalidArgument, state.NotImplemented, state.RuntimeException, ValueError, *loading
