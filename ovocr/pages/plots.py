"""The geometry of plots. The template plots.html.j2 draws them as SVG."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_WIDTH, _HEIGHT = 460, 290
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 10, 44
_MAX_STEPS = 5
_COLUMNS_SHARE = 0.76  # fraction of a group's width that its columns fill


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis from ``low`` to ``high``. log: logarithmic, for values above 0. ticks: values and their labels."""

    label: str
    low: float
    high: float
    log: bool
    ticks: Sequence[tuple[float, str]]

    def position(self, value: float) -> float:
        """Returns the position of a value on the axis: 0 for ``low``, 1 for ``high``."""
        scale: Callable[[float], float] = math.log10 if self.log else float
        return (scale(value) - scale(self.low)) / (scale(self.high) - scale(self.low))


@dataclass(frozen=True, kw_only=True)
class Series:
    """A series of points.

    kind: the CSS classes of its colour and dashes. points: x, y and tooltip of each point; a point without a tooltip is
    not drawn as a dot. intervals: x, low and high of vertical bars.
    """

    kind: str
    points: Sequence[tuple[float, float, str]]
    intervals: Sequence[tuple[float, float, float]] = ()


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a plot, in units of the drawing."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot in units of its drawing, from the top left. label: what it shows, for screen readers."""

    label: str
    x_label: str
    y_label: str
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    lines: Sequence[Series] = ()
    columns: Sequence[Column] = ()
    width: int = field(default=_WIDTH, init=False)
    height: int = field(default=_HEIGHT, init=False)
    left: int = field(default=_LEFT, init=False)
    right: int = field(default=_WIDTH - _RIGHT, init=False)
    top: int = field(default=_TOP, init=False)
    bottom: int = field(default=_HEIGHT - _BOTTOM, init=False)


def log_axis(label: str, greatest: float) -> Axis:
    """Returns an axis from 1 to ``greatest`` or the next power of ten, with a tick at each power."""
    powers = max(1, math.ceil(math.log10(max(greatest, 1))))
    ticks = [(10**power, short_number(10**power)) for power in range(powers + 1)]
    return Axis(label=label, low=1, high=10**powers, log=True, ticks=ticks)


def share_axis(label: str) -> Axis:
    """Returns an axis from 0 to 100%."""
    return Axis(label=label, low=0, high=1, log=False, ticks=[(value / 4, f"{25 * value}%") for value in range(5)])


def count_axis(label: str, greatest: int) -> Axis:
    """Returns an axis from 0 to a round number at or above ``greatest``."""
    steps = (digit * 10**power for power in range(19) for digit in (1, 2, 5))
    step = next(step for step in steps if step * _MAX_STEPS >= greatest)
    count = max(1, -(-greatest // step))
    ticks = [(step * number, short_number(step * number)) for number in range(count + 1)]
    return Axis(label=label, low=0, high=step * count, log=False, ticks=ticks)


def category_axis(label: str, names: Sequence[str]) -> Axis:
    """Returns an axis with a unit of length for each name. The middle of the first is at 0.5."""
    ticks = [(number + 0.5, name.replace("-", "–")) for number, name in enumerate(names)]
    return Axis(label=label, low=0, high=len(names), log=False, ticks=ticks)


def tenths_axis(label: str, least: float) -> Axis:
    """Returns an axis to 1 from the tenth at or below ``least``, which is from 0 to less than 1."""
    low = min(9, int(10 * least + 1e-9))
    ticks = [(tenth / 10, f"{tenth / 10:.1f}") for tenth in range(low, 11)]
    return Axis(label=label, low=low / 10, high=1, log=False, ticks=ticks)


def short_number(number: int) -> str:
    """Returns a number such as 200, 5k, 2M."""
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= unit and number % unit == 0:
            return f"{number // unit}{name}"
    return f"{number:,}"


def line_plot(x: Axis, y: Axis, series: Sequence[Series], *, label: str) -> Plot:
    """Returns a plot of lines with a dot at each point and a bar for each interval."""
    lines = [
        Series(
            kind=each.kind,
            points=[(_x(x.position(right)), _y(y.position(up)), title) for right, up, title in each.points],
            intervals=[
                (_x(x.position(right)), _y(y.position(low)), _y(y.position(high)))
                for right, low, high in each.intervals
            ],
        )
        for each in series
    ]
    return _plot(x, y, label, lines=lines)


def column_plot(names: Sequence[str], x_label: str, y: Axis, series: Sequence[Series], *, label: str) -> Plot:
    """Returns a plot with a group of columns for each name, one column per series. The x of a point is its group."""
    x = category_axis(x_label, names)
    width = _COLUMNS_SHARE * (_x(x.position(1)) - _x(0)) / len(series)
    columns = []
    for number, each in enumerate(series):
        for group, value, title in each.points:
            left = _x(x.position(group + (1 - _COLUMNS_SHARE) / 2)) + number * width
            top = _y(y.position(value))
            columns.append(Column(kind=each.kind, x=left, y=top, width=0.94 * width, height=_y(0) - top, title=title))
    return _plot(x, y, label, columns=columns)


def _plot(x: Axis, y: Axis, label: str, *, lines: Sequence[Series] = (), columns: Sequence[Column] = ()) -> Plot:
    return Plot(
        label=label,
        x_label=x.label,
        y_label=y.label,
        x_ticks=[(_x(x.position(value)), name) for value, name in x.ticks],
        y_ticks=[(_y(y.position(value)), name) for value, name in y.ticks],
        lines=lines,
        columns=columns,
    )


def _x(position: float) -> float:
    return _LEFT + position * (_WIDTH - _LEFT - _RIGHT)


def _y(position: float) -> float:
    return _HEIGHT - _BOTTOM - position * (_HEIGHT - _TOP - _BOTTOM)
