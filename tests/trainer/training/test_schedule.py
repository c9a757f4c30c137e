"""The learning rate factor against values computed by hand."""

import pytest

from ovocr.trainer.training.schedule import learning_rate_factor


@pytest.mark.parametrize(
    ("step", "factor"),
    [(0, 0.25), (1, 0.5), (3, 1.0), (4, 1.0), (6, 0.64), (9, 0.25), (13, 0.01), (14, 0.0), (99, 0.0)],
)
def test_rises_to_one_and_decays_quadratically(step: int, factor: float) -> None:
    assert learning_rate_factor(step, warmup_steps=4, steps=14, power=2.0) == pytest.approx(factor)


def test_without_warm_up_it_starts_at_one() -> None:
    assert [learning_rate_factor(step, warmup_steps=0, steps=4, power=1.0) for step in range(4)] == [1, 0.75, 0.5, 0.25]


def test_warm_up_may_take_the_whole_run() -> None:
    assert [learning_rate_factor(step, warmup_steps=2, steps=2, power=2.0) for step in range(2)] == [0.5, 1.0]


def test_power_zero_is_constant() -> None:
    assert {learning_rate_factor(step, warmup_steps=1, steps=9, power=0.0) for step in range(9)} == {1.0}
