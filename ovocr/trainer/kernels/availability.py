"""Choice of the implementation: Triton kernels on CUDA, plain torch elsewhere. Every fallback is reported."""

import importlib.util
import os
import warnings
from functools import cache
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Implementation: TypeAlias = Literal["auto", "torch", "triton"]

MISSING = "Triton is not installed: pip install triton (CUDA builds of torch bring it)"


def choose_implementation(wanted: Implementation, tensor: Tensor) -> Literal["torch", "triton"]:
    """Returns the implementation for tensors like this one.

    "auto" selects Triton for float32 on CUDA, with a warning if it is not installed, and torch otherwise. Raises
    ImportError or ValueError if "triton" is requested but cannot run.
    """
    if wanted == "torch":
        return "torch"
    if wanted == "auto":
        if tensor.device.type != "cuda" or tensor.dtype != torch.float32:
            return "torch"
        if not has_triton():
            warnings.warn(f"using plain torch, which is several times slower: {MISSING}", RuntimeWarning, stacklevel=2)
            return "torch"
        return "triton"
    if not has_triton():
        raise ImportError(MISSING)
    if tensor.device.type != "cuda" and not is_interpreted():
        raise ValueError(
            f"implementation 'triton' needs CUDA tensors, not {tensor.device.type} (or TRITON_INTERPRET=1)"
        )
    if tensor.dtype != torch.float32:
        raise ValueError(f"implementation 'triton' needs float32, not {tensor.dtype}; use 'torch'")
    return "triton"


@cache
def has_triton() -> bool:
    """Returns True if Triton can be imported."""
    return importlib.util.find_spec("triton") is not None


def is_interpreted() -> bool:
    """Returns True if Triton kernels run on the CPU through its interpreter."""
    return os.environ.get("TRITON_INTERPRET") == "1"
