"""Tiles: squares that cover an image and overlap by half, so that a word cut by one is whole in another."""

from dataclasses import dataclass

from ovocr.base.errors import UsageError
from ovocr.base.plural import counted
from ovocr.views.view import Crop

LEAST_SIDE = 8
MOST_TILES = 10_000
"""Tiles of one image: more is a mistake in the side, and takes hours."""


@dataclass(frozen=True)
class Tiling:
    """The tiles of an image, row by row. The last column and row end with the image.

    width, height: size of the image in pixels. side: side of a tile in pixels. An image that is smaller in a direction
        has one tile in it, which is as long as the image.
    """

    width: int
    height: int
    side: int

    def __str__(self) -> str:
        """Returns the number and the size of the tiles: "12 tiles of 448 x 448 pixels"."""
        return f"{counted(self.count, 'tile')} of {min(self.side, self.width)} x {min(self.side, self.height)} pixels"

    @property
    def count(self) -> int:
        """The number of tiles."""
        return _count(self.width, self.side) * _count(self.height, self.side)

    def check(self) -> None:
        """Raises UsageError if there are too many tiles."""
        if self.count > MOST_TILES:
            raise UsageError(
                f"{self.width} x {self.height} pixels need {counted(self.count, 'tile')} of {self.side} pixels, more "
                f"than {MOST_TILES:,}; choose a larger --tile"
            )

    def tiles(self) -> list[Crop]:
        """Returns the tiles."""
        columns, rows = _starts(self.width, self.side), _starts(self.height, self.side)
        return [
            Crop(left, top, min(left + self.side, self.width), min(top + self.side, self.height))
            for top in rows
            for left in columns
        ]


def check_side(side: int) -> None:
    """Raises UsageError if a side is too small for a tile."""
    if side < LEAST_SIDE:
        raise UsageError(f"--tile {side}: must be at least {LEAST_SIDE} pixels")


def _count(length: int, side: int) -> int:
    return 1 if length <= side else 1 - -(length - side) // (side // 2)


def _starts(length: int, side: int) -> list[int]:
    """Returns the first pixels of the tiles in one direction."""
    last = max(0, length - side)
    return [*range(0, last, side // 2), last]
