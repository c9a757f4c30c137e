"""The factors of the learning rate against values computed by hand."""

import pytest

from ovocr.trainer.training.schedule import polynomial_factor, wsd_factor


@pytest.mark.parametrize(
    ("step", "factor"),
    [(0, 0.25), (1, 0.5), (3, 1.0), (4, 1.0), (6, 0.64), (9, 0.25), (13, 0.01), (14, 0.0), (99, 0.0)],
)
def test_rises_to_one_and_decays_quadratically(step: int, factor: float) -> None:
    assert polynomial_factor(step, warmup_steps=4, steps=14, power=2.0) == pytest.approx(factor)


def test_without_warm_up_it_starts_at_one() -> None:
    assert [polynomial_factor(step, warmup_steps=0, steps=4, power=1.0) for step in range(4)] == [1, 0.75, 0.5, 0.25]


def test_warm_up_may_take_the_whole_run() -> None:
    assert [polynomial_factor(step, warmup_steps=2, steps=2, power=2.0) for step in range(2)] == [0.5, 1.0]


def test_power_zero_is_constant() -> None:
    assert {polynomial_factor(step, warmup_steps=1, steps=9, power=0.0) for step in range(9)} == {1.0}


# 1 - sqrt(0), 1 - sqrt(1 / 4), 1 - sqrt(2 / 4), 1 - sqrt(3 / 4)
COOLDOWN = [1.0, 0.5, 0.2928932188134524, 0.1339745962155614]


def test_wsd_rises_stays_and_cools_down() -> None:
    factors = [wsd_factor(step, warmup_steps=2, steps=10, cooldown_steps=4) for step in range(12)]
    assert factors == pytest.approx([0.5, 1, 1, 1, 1, 1, *COOLDOWN, 0, 0], abs=1e-15)


@pytest.mark.parametrize("warmup_steps", [0, 3])
def test_wsd_does_not_depend_on_the_length_before_the_cooldown(warmup_steps: int) -> None:
    def factors(steps: int, cooldown_steps: int) -> list[float]:
        settings = {"warmup_steps": warmup_steps, "cooldown_steps": cooldown_steps}
        return [wsd_factor(step, steps=steps, **settings) for step in range(steps - cooldown_steps)]

    assert factors(50, 7)[:20] == factors(25, 5)
    assert set(factors(50, 7)[3:]) == {1.0}


def test_wsd_may_consist_of_warm_up_and_cooldown() -> None:
    factors = [wsd_factor(step, warmup_steps=2, steps=6, cooldown_steps=4) for step in range(6)]
    assert factors == pytest.approx([0.5, 1, *COOLDOWN])
