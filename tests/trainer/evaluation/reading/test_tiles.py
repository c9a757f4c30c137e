"""The geometry of tiles."""

import numpy as np
import pytest

from ovocr.base.errors import UsageError
from ovocr.trainer.evaluation.reading.tiles import MOST_TILES, Tiling, check_side


@pytest.mark.parametrize(
    ("width", "height", "side"),
    [(100, 70, 32), (100, 70, 33), (64, 64, 32), (65, 64, 32), (40, 24, 32), (8, 9, 8), (97, 5, 9), (1, 1, 8)],
)
def test_tiles_cover_every_pixel(width: int, height: int, side: int) -> None:
    tiling = Tiling(width, height, side)
    tiles = tiling.tiles()
    assert len(tiles) == len(set(tiles)) == tiling.count
    covered = np.zeros((height, width), int)
    for left, top, right, bottom in tiles:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert (right - left, bottom - top) == (min(side, width), min(side, height))
        covered[top:bottom, left:right] += 1
    assert covered.min() == 1
    assert tiles[-1][2:] == (width, height)


@pytest.mark.parametrize(
    ("length", "side", "starts"),
    [(64, 32, [0, 16, 32]), (65, 32, [0, 16, 32, 33]), (32, 32, [0]), (31, 32, [0]), (33, 32, [0, 1])],
)
def test_tiles_overlap_by_half(length: int, side: int, starts: list[int]) -> None:
    assert [tile.left for tile in Tiling(length, 10, side).tiles()] == starts
    assert [tile.top for tile in Tiling(10, length, side).tiles()] == starts


def test_tiles_are_in_rows() -> None:
    tiles = Tiling(24, 20, 16).tiles()
    assert [tuple(tile) for tile in tiles] == [(0, 0, 16, 16), (8, 0, 24, 16), (0, 4, 16, 20), (8, 4, 24, 20)]
    assert str(Tiling(24, 20, 16)) == "4 tiles of 16 x 16 pixels"


def test_small_image_is_one_tile() -> None:
    assert Tiling(40, 24, 50).tiles() == [(0, 0, 40, 24)]
    assert str(Tiling(40, 24, 50)) == "1 tile of 40 x 24 pixels"
    assert str(Tiling(40, 24, 30)) == "2 tiles of 30 x 24 pixels"


def test_limits() -> None:
    check_side(8)
    with pytest.raises(UsageError, match="^--tile 7: must be at least 8 pixels$"):
        check_side(7)
    largest = Tiling(404, 404, 8)
    assert largest.count == MOST_TILES
    largest.check()
    with pytest.raises(UsageError) as caught:
        Tiling(408, 404, 8).check()
    assert str(caught.value) == (
        "408 x 404 pixels need 10,100 tiles of 8 pixels, more than 10,000; choose a larger --tile"
    )
