"""Learning rate schedule: linear warm-up, then polynomial decay."""


def learning_rate_factor(step: int, *, warmup_steps: int, steps: int, power: float) -> float:
    """Returns the factor of the peak learning rate at ``step``, counted from 0.

    Rises by 1 / warmup_steps per step and reaches 1 at step ``warmup_steps - 1``. From step ``warmup_steps`` on it is
    (1 - progress) ** power, where progress runs from 0 to 1 at ``steps``, the end of the run.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if step >= steps:
        return 0.0
    progress = (step - warmup_steps) / (steps - warmup_steps)
    return float((1.0 - progress) ** power)
