"""Numbers of a step that are not finite: the message advises on the learning rate only if it may be the cause."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ovocr.base.errors import OvocrError
from ovocr.trainer.config.file import load_config
from ovocr.trainer.training.step import HeadResult, StepResult
from ovocr.trainer.training.step_reporter import StepReporter

ADVICE = "; the learning rate may be too high: optimizer.lr is 0.001, times heads.ocr.lr_scale, 50"


def result(step: int, loss: float, grad_norm: float = 1.0) -> StepResult:
    number = torch.tensor(1.0)
    head = HeadResult([torch.tensor(loss)], [number], [number], [torch.tensor([loss])], [np.array([-1])])
    return StepResult(
        step, 1e-3, 0.0, {"ocr": head}, torch.tensor([grad_norm, 1.0]), number * 0, number * 0, number * 0
    )


def message(config_file: Path, found: StepResult, *settings: str) -> str:
    reporter = StepReporter(load_config(config_file, settings), {}, None)
    with pytest.raises(OvocrError) as caught:
        reporter.add(found, ended=None)
    return str(caught.value)


# The warm-up has two steps. Step 1 is the first one after a change of the weights.
@pytest.mark.parametrize(("step", "advice"), [(0, ""), (1, ADVICE), (101, ADVICE), (102, "")])
def test_advice_until_a_hundred_steps_after_the_warm_up(config_file: Path, step: int, advice: str) -> None:
    expected = f"step {step}, head ocr: the loss is nan; samples: unknown{advice}"
    assert message(config_file, result(step, torch.nan), "run.steps=1000") == expected
    expected = f"step {step}: grad_norm is inf, although the losses are finite{advice}"
    assert message(config_file, result(step, 1.0, torch.inf), "run.steps=1000") == expected


def test_a_new_schedule_has_first_steps_too(config_file: Path) -> None:
    settings = ("run.steps=1000", "optimizer.schedule=wsd", "optimizer.cooldown_steps=1")
    settings = (*settings, "optimizer.schedule_start=500", "heads.ocr.lr_scale=1")
    advice = "the learning rate may be too high: optimizer.lr is 0.001"
    assert message(config_file, result(501, torch.nan), *settings).endswith(f"samples: unknown; {advice}")
    assert message(config_file, result(499, torch.nan), *settings).endswith("samples: unknown")
