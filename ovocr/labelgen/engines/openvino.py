"""Runs a network in bfloat16 with OpenVINO: half the time of float32 on processors with bfloat16 instructions.

bfloat16 keeps 8 of the 24 bits of float32's precision, so single letters may differ, even between processors.
"""

import logging
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ovocr.base.errors import MissingExtraError, UsageError

_QUERY = "import openvino; print(*openvino.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES'))"


def check_bfloat16() -> None:
    """Raises MissingExtraError if OpenVINO is not installed, UsageError if the processor lacks bfloat16 instructions.

    Queries OpenVINO in a separate process: only workers, which can be replaced, load it.
    """
    if find_spec("openvino") is None:
        raise MissingExtraError("--precision bfloat16", "openvino")
    done = subprocess.run([sys.executable, "-c", _QUERY], capture_output=True, text=True, timeout=60, check=False)
    capabilities = done.stdout.split()
    if done.returncode or not capabilities:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UsageError(f"--precision bfloat16: OpenVINO does not start ({reason}); omit the option")
    if "BF16" not in capabilities:
        raise UsageError(
            f"--precision bfloat16: this processor has no instructions for it, only for {', '.join(capabilities)}; "
            "omit the option"
        )


class Bfloat16Session:
    """A network on one thread that replaces a session of RapidOCR. path: a checked .onnx file."""

    def __init__(self, path: Path) -> None:
        import openvino

        logging.getLogger("openvino").setLevel(logging.CRITICAL)
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16",
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            # Otherwise all workers are pinned to the same core.
            "ENABLE_CPU_PINNING": False,
        }
        core = openvino.Core()
        self._request: Any = core.compile_model(core.read_model(path), "CPU", settings).create_infer_request()

    def __call__(self, tensor: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Returns the network's output for one input. The next call overwrites it. Raises RuntimeError."""
        self._request.infer([tensor])
        output: npt.NDArray[np.float32] = self._request.get_output_tensor().data
        return output
