"""Plots as SVG inside a page. Colours are the style sheet's; what a mark means is its title, shown beside a pointer."""

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_WIDTH, _HEIGHT = 460, 290
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 10, 44
_TICKS_AT_MOST = 5


@dataclass(frozen=True, kw_only=True)
class Axis:
    """From low to high; log: spaced by powers, for values above 0. ticks: values and what is written beside them."""

    label: str
    low: float
    high: float
    log: bool
    ticks: Sequence[tuple[float, str]]

    def place(self, value: float) -> float:
        """0 at low, 1 at high."""
        scale: Callable[[float], float] = math.log10 if self.log else float
        return (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))


@dataclass(frozen=True, kw_only=True)
class Series:
    """kind: class of the style sheet that says its colour. points: x, y, and the title, plain text."""

    kind: str
    points: Sequence[tuple[float, float, str]]


def log_axis(label: str, greatest: float) -> Axis:
    """From 1 to ``greatest`` or the next power of ten; a tick at each power."""
    powers = max(1, math.ceil(math.log10(max(greatest, 1))))
    return Axis(
        label=label,
        low=1,
        high=10**powers,
        log=True,
        ticks=[(10**power, short_number(10**power)) for power in range(powers + 1)],
    )


def share_axis(label: str) -> Axis:
    """From 0 to 100 %."""
    return Axis(
        label=label, low=0, high=1, log=False, ticks=[(value / 4, f"{25 * value}%") for value in range(_TICKS_AT_MOST)]
    )


def count_axis(label: str, greatest: int) -> Axis:
    """From 0 to a round number at or above ``greatest``."""
    steps = (digit * 10**power for power in range(19) for digit in (1, 2, 5))
    step = next(step for step in steps if step * _TICKS_AT_MOST >= greatest)
    count = max(1, -(-greatest // step))
    return Axis(
        label=label,
        low=0,
        high=step * count,
        log=False,
        ticks=[(step * number, short_number(step * number)) for number in range(count + 1)],
    )


def short_number(number: int) -> str:
    """Such as 200, 5k, 2M."""
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= unit and number % unit == 0:
            return f"{number // unit}{name}"
    return f"{number:,}"


def line_plot(x: Axis, y: Axis, series: Sequence[Series], *, label: str) -> str:
    """Lines with a dot at each point. label: what the plot shows, plain text, for those who do not see it."""
    return _plot(_grid(x, y) + "".join(_line(x, y, each) for each in series), label)


def column_plot(names: Sequence[str], x_label: str, y: Axis, series: Sequence[Series], *, label: str) -> str:
    """A group of columns for each name, one a series. The x of points is the number of the group."""
    wide = 1 / len(names)
    ticks = [(number + 0.5, name.replace("-", "–")) for number, name in enumerate(names)]
    x = Axis(label=x_label, low=0, high=len(names), log=False, ticks=ticks)
    column = 0.76 * wide / len(series)
    marks = []
    for number, each in enumerate(series):
        for group, value, title in each.points:
            left = _x(wide * (group + 0.12) + number * column)
            top = _y(y.place(value))
            marks.append(
                f'<rect class="{each.kind}" x="{left:.1f}" y="{top:.1f}" width="{(_x(column) - _x(0)) * 0.94:.1f}" '
                f'height="{_y(0) - top:.1f}" rx="1.5"><title>{html.escape(title)}</title></rect>'
            )
    return _plot(_grid(x, y) + "".join(marks), label)


def bar(values: Sequence[tuple[str, float]], label: str) -> str:
    """Bars below each other, of a kind and a share of the whole width each. Sizes are attributes: the page's policy
    allows no style beside the page's own.
    """
    high = 10 / len(values)
    bars = "".join(
        f'<rect class="{kind}" y="{number * high:.2f}" width="{100 * value:.2f}" height="{high:.2f}"/>'
        for number, (kind, value) in enumerate(values)
    )
    return (
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" '
        f'aria-label="{html.escape(label)}">'
        f'<rect class="ground" width="100" height="10"/>{bars}</svg>'
    )


def _plot(marks: str, label: str) -> str:
    return (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(label)}">{marks}</svg>'
    )


def _x(place: float) -> float:
    return _LEFT + place * (_WIDTH - _LEFT - _RIGHT)


def _y(place: float) -> float:
    return _HEIGHT - _BOTTOM - place * (_HEIGHT - _TOP - _BOTTOM)


def _grid(x: Axis, y: Axis) -> str:
    across = "".join(
        f'<line class="grid" x1="{_x(0)}" x2="{_x(1)}" y1="{_y(y.place(value)):.1f}" y2="{_y(y.place(value)):.1f}"/>'
        f'<text class="tick" x="{_LEFT - 7}" y="{_y(y.place(value)) + 4:.1f}" text-anchor="end">{name}</text>'
        for value, name in y.ticks
    )
    along = "".join(
        f'<text class="tick" x="{_x(x.place(value)):.1f}" y="{_y(0) + 17:.1f}" text-anchor="middle">{name}</text>'
        for value, name in x.ticks
    )
    middle = (_x(0) + _x(1)) / 2
    labels = (
        f'<text class="axis" x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">{x.label}</text>'
        f'<text class="axis" transform="rotate(-90)" x="{-(_y(0) + _y(1)) / 2}" y="11" text-anchor="middle">'
        f"{y.label}</text>"
    )
    return across + along + labels


def _line(x: Axis, y: Axis, series: Series) -> str:
    places = [(_x(x.place(right)), _y(y.place(up)), title) for right, up, title in series.points]
    path = " ".join(f"{right:.1f},{up:.1f}" for right, up, _ in places)
    # A dot is easier to point at than it looks.
    dots = "".join(
        f'<g class="dot"><circle class="reach" cx="{right:.1f}" cy="{up:.1f}" r="9"/>'
        f'<circle class="{series.kind}" cx="{right:.1f}" cy="{up:.1f}" r="2.6"/><title>{html.escape(title)}</title></g>'
        for right, up, title in places
    )
    return f'<polyline class="line {series.kind}" points="{path}"/>{dots}'
