"""Margins against values computed by hand and numerical derivatives."""

import math

import pytest
import torch

from ovocr.trainer.heads.margin import Margin


def test_arcface_by_hand() -> None:
    logit, slope = Margin(scale=10.0, m2=0.5).target(torch.tensor([math.cos(1.0)], dtype=torch.float64))
    assert logit.item() == pytest.approx(10 * math.cos(1.5))
    assert slope.item() == pytest.approx(10 * math.sin(1.5) / math.sin(1.0))


def test_cosface_is_a_shift() -> None:
    logit, slope = Margin(scale=64.0, m2=0.0, m3=0.3).target(torch.tensor([1.0, 0.25, -1.0]))
    assert logit.tolist() == pytest.approx([64 * 0.7, 64 * -0.05, 64 * -1.3])
    assert slope.tolist() == [64.0, 64.0, 64.0]


def test_logit_keeps_falling_beyond_pi() -> None:
    cos = torch.linspace(-0.999, 0.999, 4001, dtype=torch.float64)
    logit, slope = Margin(m2=0.5).target(cos)
    beyond = torch.acos(cos) + 0.5 > math.pi
    assert beyond.any()
    assert torch.allclose(logit[beyond], 64 * (cos[beyond] - 0.5 * math.sin(0.5)))
    assert (slope > 0).all()


@pytest.mark.parametrize(
    "margin", [Margin(), Margin(m1=1.2, m2=0.1, m3=0.05), Margin(m2=0.0, m3=0.3), Margin(m1=0.9, m2=0.3, m3=0.2)]
)
def test_slope_is_the_derivative(margin: Margin) -> None:
    cos = torch.linspace(-0.95, 0.95, 101, dtype=torch.float64)
    step = 1e-6
    numeric = (margin.target(cos + step)[0] - margin.target(cos - step)[0]) / (2 * step)
    smooth = (torch.acos(cos) * margin.m1 + margin.m2 - math.pi).abs() > 1e-3
    assert torch.allclose(margin.target(cos)[1][smooth], numeric[smooth], rtol=1e-5)


def test_finite_at_the_ends() -> None:
    logit, slope = Margin().target(torch.tensor([-1.0, 1.0, 1.0000001]))
    assert torch.isfinite(logit).all()
    assert torch.isfinite(slope).all()


def test_straight_through_keeps_the_value() -> None:
    cos = torch.tensor([0.3])
    exact, through = Margin().target(cos), Margin(gradient="straight_through").target(cos)
    assert exact[0] == through[0]
    assert through[1].item() == 64.0


def test_invalid_settings_raise() -> None:
    with pytest.raises(ValueError, match="scale must be more than 0 and at most 100.0, not -1"):
        Margin(scale=-1)
    with pytest.raises(ValueError, match="m2 from 0 to pi"):
        Margin(m2=math.nan)
    for scale in (math.nan, math.inf, 0, 128):
        with pytest.raises(ValueError, match="at most 100"):
            Margin(scale=scale)
    with pytest.raises(ValueError, match="m3 at least 0"):
        Margin(m3=math.inf)
    with pytest.raises(ValueError, match="filter_threshold must be a cosine"):
        Margin(filter_threshold=-2)
    with pytest.raises(ValueError, match="gradient must be"):
        Margin(gradient="none")  # type: ignore[arg-type]
