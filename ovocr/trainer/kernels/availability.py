"""Which implementation runs: Triton kernels on CUDA, plain torch anywhere. Nothing falls back without a word."""

import importlib.util
import os
import warnings
from functools import cache
from typing import Literal

import torch
from torch import Tensor

MISSING = "Triton is not installed: pip install triton (CUDA builds of torch bring it)"


def choose_implementation(wanted: Literal["auto", "torch", "triton"], tensor: Tensor) -> Literal["torch", "triton"]:
    """The implementation for tensors like this one.

    "auto" is Triton for float32 on CUDA, with a warning where it is not installed, and torch for anything else.
    Raises ImportError or ValueError where "triton" is asked for and cannot be.
    """
    if wanted == "torch":
        return "torch"
    if wanted == "auto":
        if tensor.device.type != "cuda" or tensor.dtype != torch.float32:
            return "torch"
        if not has_triton():
            warnings.warn(f"plain torch is used, several times slower: {MISSING}", RuntimeWarning, stacklevel=2)
            return "torch"
        return "triton"
    if not has_triton():
        raise ImportError(MISSING)
    if tensor.device.type != "cuda" and not is_interpreted():
        raise ValueError(
            f"implementation 'triton' needs CUDA tensors, not {tensor.device.type} (or TRITON_INTERPRET=1)"
        )
    if tensor.dtype != torch.float32:
        raise ValueError(f"implementation 'triton' takes float32, not {tensor.dtype}; use 'torch'")
    return "triton"


@cache
def has_triton() -> bool:
    """Whether Triton can be imported."""
    return importlib.util.find_spec("triton") is not None


def is_interpreted() -> bool:
    """Whether Triton's kernels run on the CPU, through its interpreter."""
    return os.environ.get("TRITON_INTERPRET") == "1"
