"""Plans PaddleOCR as an engine: finds its models and tries them out on oneDNN, the CPU or GPUs."""

from dataclasses import replace
from importlib.util import find_spec

from ovocr.base.errors import MissingExtraError, UsageError
from ovocr.base.plural import counted
from ovocr.labelgen.engines.interface import EngineChoice
from ovocr.labelgen.engines.paddle_engine import PaddlePlan, name_runtime
from ovocr.labelgen.engines.paddle_models import find_paddle_models
from ovocr.labelgen.engines.paddle_trial import try_out


def plan(choice: EngineChoice) -> PaddlePlan:
    """Returns the engine with the models of ``choice``, on a runtime that has passed a trial: see docs/engines.md.

    Raises UsageError if a model or a name is wrong or no runtime works, MissingExtraError if PaddleOCR is not
    installed, OvocrError if a model cannot be downloaded.
    """
    if not all(map(find_spec, ("paddleocr", "onnxruntime", "PIL"))):
        raise MissingExtraError("--engine paddleocr", "paddle")
    if choice.precision != "float32":
        raise UsageError(f"--precision {choice.precision}: --engine paddleocr reads in float32 only")
    det, rec = find_paddle_models(choice)
    if det.backend == "paddlepaddle" and find_spec("paddle") is None:
        raise UsageError(
            f"{det.folder}: a Paddle model needs PaddlePaddle: pip install 'paddlepaddle<3.3', or its build for GPUs"
        )
    wanted = PaddlePlan(det, rec, onednn=det.backend == "paddlepaddle")
    trial = try_out(wanted)
    if trial.failure is None:
        return _with_notice(replace(wanted, gpus=trial.gpus, onednn=wanted.onednn and not trial.gpus))
    # Only oneDNN has a fallback: a failing GPU is not replaced by a CPU, which is a hundred times slower.
    if wanted.onednn and not trial.gpus:
        plain = replace(wanted, onednn=False)
        second = try_out(plain)
        if second.failure is None:
            return _with_notice(replace(plain, gpus=second.gpus), None if second.gpus else trial.failure)
    raise UsageError(
        f"--engine paddleocr: {det.name} and {rec.name} do not work on {name_runtime(wanted.backend)} "
        f"({trial.failure}); give other models with --model-dir, or install a different version of it"
    )


def _with_notice(plan: PaddlePlan, onednn_failure: str | None = None) -> PaddlePlan:
    """Returns the plan with a notice that names models, runtime and device, or says why oneDNN is not used."""
    device = counted(plan.gpus, "GPU") if plan.gpus else "CPU with oneDNN" if plan.onednn else "CPU"
    notice = f"paddleocr: {plan.det.name} + {plan.rec.name} on {name_runtime(plan.backend)}, {device}"
    if onednn_failure is not None:
        notice = (
            f"paddleocr: oneDNN fails in {name_runtime(plan.backend)} ({onednn_failure}); reading without it, "
            "about 4 times slower; pip install 'paddlepaddle<3.3'"
        )
    return replace(plan, notice=notice)
