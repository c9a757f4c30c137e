"""Tries out PaddlePaddle and PaddleOCR's models in a process of its own, which a broken build may bring down.

    python -m ovocr.labelgen.engines.paddle_trial < PLAN

PLAN: a pickled PaddlePlan, or nothing, to look for GPUs only.
"""

import json
import pickle
import signal
import subprocess
import sys
from dataclasses import dataclass, replace

from ovocr.base.errors import OvocrError
from ovocr.labelgen.engines.interface import EngineError
from ovocr.labelgen.engines.paddle_engine import PaddlePlan

TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Trial:
    """What a trial found. gpus: number of them that PaddlePaddle can use. failure: a line; None where all went well."""

    gpus: int
    failure: str | None


def try_out(plan: PaddlePlan | None) -> Trial:
    """Load the models of ``plan`` and read a picture, on the GPU if there is one; without a plan look for GPUs only."""
    data = b"" if plan is None else pickle.dumps(plan)
    command = [sys.executable, "-m", "ovocr.labelgen.engines.paddle_trial"]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return Trial(0, f"not ready after {TIMEOUT_S:g} s")
    found = [line for line in done.stdout.splitlines() if line.startswith(b'{"gpus"')]
    gpus = json.loads(found[0])["gpus"] if found else 0
    return Trial(gpus, _failure(done))


def name_gpus(count: int) -> str:
    """``1 GPU``, ``8 GPUs``."""
    return f"{count} GPU{'s' if count > 1 else ''}"


def _failure(done: subprocess.CompletedProcess[bytes]) -> str | None:
    if done.returncode == 0:
        return None
    if done.returncode < 0:
        return f"the process died of {signal.Signals(-done.returncode).name}"
    lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
    return " ".join(lines[-1].split())[:300]


def main() -> None:
    """The other process. Says how many GPUs there are before it does what may fail."""
    data = sys.stdin.buffer.read()
    plan: PaddlePlan | None = pickle.loads(data) if data else None
    gpus = 0 if plan is not None and plan.backend == "onnxruntime" else _count_gpus()
    print(json.dumps({"gpus": gpus}), flush=True)
    if plan is not None:
        try:
            _read_picture(replace(plan, gpus=gpus))
        except (EngineError, OvocrError) as error:
            sys.exit(str(error))


def _count_gpus() -> int:
    import paddle

    if not paddle.device.is_compiled_with_cuda():
        return 0
    return int(paddle.device.cuda.device_count())


def _read_picture(plan: PaddlePlan) -> None:
    """Detect and recognise. What is read is not looked at: the recogniser may know another script."""
    import cv2
    import numpy as np

    from ovocr.labelgen.engines.batching import padded_width, read_lines

    engine = plan.load()
    picture = np.full((64, 320, 3), 255, np.uint8)
    cv2.putText(picture, "hello ovocr", (20, 45), cv2.FONT_HERSHEY_SIMPLEX, 1.3, (0, 0, 0), 3)
    read_lines(engine, [picture])
    engine.recognise([picture], padded_width(picture, engine.batching))  # whether or not the detector saw the text


if __name__ == "__main__":
    main()
