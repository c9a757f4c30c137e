"""The geometry of plots."""

import pytest

from ovocr.pages.plots import Series, category_axis, line_plot, tenths_axis


@pytest.mark.parametrize(("least", "low"), [(0.0, 0.0), (0.49, 0.4), (0.5, 0.5), (0.7, 0.7), (0.999, 0.9)])
def test_axis_of_tenths_begins_at_or_below_the_least_value(least: float, low: float) -> None:
    axis = tenths_axis("share", least)
    assert (axis.low, axis.high) == (low, 1)
    assert axis.ticks[0] == (low, f"{low:.1f}")
    assert axis.ticks[-1] == (1.0, "1.0")
    assert axis.position(1.0) == 1


def test_categories_are_centred_on_their_ticks() -> None:
    axis = category_axis("size", ["<6", "6-8"])
    assert axis.ticks == [(0.5, "<6"), (1.5, "6–8")]
    assert axis.position(1.5) == 0.75


def test_intervals_are_scaled_like_points() -> None:
    series = Series(kind="a", points=[(0.5, 0.7, "dot")], intervals=[(0.5, 0.6, 0.9)])
    plot = line_plot(category_axis("size", ["x"]), tenths_axis("share", 0.5), [series], label="plot")
    ((x, y, _),), ((at, low, high),) = plot.lines[0].points, plot.lines[0].intervals
    assert x == at == (plot.left + plot.right) / 2
    ticks = {name: position for position, name in plot.y_ticks}
    assert (low, y, high) == pytest.approx((ticks["0.6"], ticks["0.7"], ticks["0.9"]))
    assert high < y < low  # from the top
