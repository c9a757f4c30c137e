"""Learning rate schedules: a linear warm-up, then a polynomial decay, or a constant rate and a cooldown."""

import math

from ovocr.trainer.config.sections import RunConfig


def learning_rate(step: int, config: RunConfig) -> float:
    """Returns the learning rate of step ``step``, counted from 0: a function of the configuration and the step."""
    settings = config.optimizer
    if settings.cooldown_steps is None:
        factor = polynomial_factor(
            step, warmup_steps=settings.warmup_steps, steps=config.run.steps, power=settings.decay_power
        )
    else:
        start = settings.schedule_start or 0
        factor = wsd_factor(
            step - start,
            warmup_steps=settings.warmup_steps,
            steps=config.run.steps - start,
            cooldown_steps=settings.cooldown_steps,
        )
    return settings.lr * factor


def polynomial_factor(step: int, *, warmup_steps: int, steps: int, power: float) -> float:
    """Returns the factor of the peak learning rate at ``step`` for schedule "polynomial".

    Rises by 1 / warmup_steps per step and reaches 1 at step ``warmup_steps - 1``. From step ``warmup_steps`` on it is
    (1 - progress) ** power, where progress runs from 0 to 1 at ``steps``, the end of the run.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if step >= steps:
        return 0.0
    progress = (step - warmup_steps) / (steps - warmup_steps)
    return float((1.0 - progress) ** power)


def wsd_factor(step: int, *, warmup_steps: int, steps: int, cooldown_steps: int) -> float:
    """Returns the factor of the peak learning rate at ``step``, counted from the start of the schedule, for "wsd".

    Rises as for "polynomial", then stays at exactly 1. From step ``steps - cooldown_steps`` on it is
    1 - sqrt(progress), where progress runs from 0 to 1 at ``steps``. Until then it does not depend on ``steps``, so a
    run can be lengthened from there. Language models end at a lower loss with this form than with a linear cooldown
    (arXiv 2405.18392).
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if step >= steps:
        return 0.0
    cooled = step - (steps - cooldown_steps)
    return 1.0 if cooled < 0 else 1.0 - math.sqrt(cooled / cooldown_steps)
