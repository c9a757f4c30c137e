"""Tries out PaddlePaddle and PaddleOCR's models in a separate process, because a broken build may crash it.

    python -m ovocr.labelgen.engines.paddle_trial < PLAN

PLAN: a pickled PaddlePlan, or nothing to count GPUs only.
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
    """The result of a trial. gpus: number of GPUs that PaddlePaddle can use. failure: one line, or None."""

    gpus: int
    failure: str | None


def try_out(plan: PaddlePlan | None) -> Trial:
    """Loads the models of ``plan`` and reads an image, on the GPU if there is one. Without a plan, counts GPUs only."""
    data = b"" if plan is None else pickle.dumps(plan)
    command = [sys.executable, "-m", "ovocr.labelgen.engines.paddle_trial"]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return Trial(0, f"not ready after {TIMEOUT_S:g} s")
    found = [line for line in done.stdout.splitlines() if line.startswith(b'{"gpus"')]
    gpus = json.loads(found[0])["gpus"] if found else 0
    return Trial(gpus, _failure(done))


def _failure(done: subprocess.CompletedProcess[bytes]) -> str | None:
    if done.returncode == 0:
        return None
    if done.returncode < 0:
        return f"the process died of {signal.Signals(-done.returncode).name}"
    lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
    return " ".join(lines[-1].split())[:300]


def main() -> None:
    """Runs the trial in the separate process. Prints the number of GPUs before the steps that may fail."""
    data = sys.stdin.buffer.read()
    plan: PaddlePlan | None = pickle.loads(data) if data else None
    gpus = 0 if plan is not None and plan.backend == "onnxruntime" else _count_gpus()
    print(json.dumps({"gpus": gpus}), flush=True)
    if plan is not None:
        try:
            _read_image(replace(plan, gpus=gpus))
        except (EngineError, OvocrError) as error:
            sys.exit(str(error))


def _count_gpus() -> int:
    import paddle

    if not paddle.device.is_compiled_with_cuda():
        return 0
    return int(paddle.device.cuda.device_count())


def _read_image(plan: PaddlePlan) -> None:
    """Detects and recognises text. Ignores the result: the recogniser may be for a different script."""
    import cv2
    import numpy as np

    from ovocr.labelgen.engines.batching import padded_width, read_lines

    engine = plan.load()
    image = np.full((64, 320, 3), 255, np.uint8)
    cv2.putText(image, "hello ovocr", (20, 45), cv2.FONT_HERSHEY_SIMPLEX, 1.3, (0, 0, 0), 3)
    read_lines(engine, [image])
    engine.recognise([image], padded_width(image, engine.batching))  # even if the detector missed the text


if __name__ == "__main__":
    main()
