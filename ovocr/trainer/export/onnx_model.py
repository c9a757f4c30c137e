"""The backbone as an ONNX model, compared with torch by ONNX's reference implementation."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ovocr.base.errors import MissingExtraError, OvocrError
from ovocr.trainer.backbone.vision_transformer import Backbone

# The place where other programs look for the ONNX model of a repository with a transformers model.
ONNX_NAME = "onnx/model.onnx"
# Files of Protocol Buffers end at 2 GiB; weights of larger models are written beside it.
_LARGEST_FILE = 2**31 - 2**24
_MOST_PATCHES = 1024  # rows or columns
# Tokens have a deviation of about 1; another sum of float32 products differs by about a millionth.
_TOLERANCE = 1e-3


class _Tokens(nn.Module):
    """The backbone with the name of its input in transformers."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Maps [B, 3, H, W] to tokens [B, L, D] and pooled [B, D]."""
        tokens, pooled = self.backbone(pixel_values)
        return tokens, pooled


def require_onnx() -> None:
    """Raises MissingExtraError if a package is missing."""
    if any(find_spec(name) is None for name in ("onnx", "onnxscript")):
        raise MissingExtraError("writing ONNX models", "onnx")


def write_onnx(backbone: Backbone, path: Path) -> float:
    """Writes the model: pixel_values [B, 3, H, W] to last_hidden_state [B, L, D] and pooler_output [B, D].

    The number of images and the size of the input are free; patch_size divides the sides. Returns the largest absolute
    difference of the model's outputs from torch's, on two inputs of other shapes than the exported one.

    Raises OvocrError if torch cannot export the model, or the difference is not that of rounding.
    """
    from torch.export import Dim

    path.parent.mkdir(parents=True, exist_ok=True)
    patch = backbone.config.patch_size
    sides = {axis: patch * Dim(name, min=1, max=_MOST_PATCHES) for axis, name in ((2, "rows"), (3, "columns"))}
    model = _Tokens(backbone).eval()
    pixels = torch.randn(2, 3, 3 * patch, 4 * patch)
    size = sum(parameter.numel() * parameter.element_size() for parameter in backbone.parameters())
    with _quiet():
        try:
            torch.onnx.export(
                model,
                (pixels,),
                path,
                dynamo=True,
                dynamic_shapes={"pixel_values": {0: Dim("batch", min=1), **sides}},
                external_data=size > _LARGEST_FILE,
                input_names=["pixel_values"],
                output_names=["last_hidden_state", "pooler_output"],
                verbose=False,
            )
        except (RuntimeError, TypeError) as error:
            cause = str(error).partition("\n")[0]
            raise OvocrError(f"torch {torch.__version__} cannot export to ONNX: {cause}; try a newer torch") from error
    # Few patches: the reference implementation is slow. Their shapes differ from the exported ones.
    inputs = (torch.randn(1, 3, patch, 2 * patch), torch.randn(3, 3, 4 * patch, 2 * patch))
    difference = _difference(model, path, inputs)
    if not difference <= _TOLERANCE:
        raise OvocrError(f"the ONNX model differs from torch by {difference:.1e}; export without --onnx")
    return difference


@torch.no_grad()
def _difference(model: nn.Module, path: Path, inputs: Sequence[Tensor]) -> float:
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(str(path))
    differences = []
    for pixels in inputs:
        found = evaluator.run(None, {"pixel_values": pixels.numpy()})
        for one, two in zip(found, model(pixels), strict=True):
            differences.append(float((torch.from_numpy(np.asarray(one)) - two).abs().max()))
    return max(differences)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses what torch's exporter says about itself: missing torchvision, folded constants, deprecations."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
