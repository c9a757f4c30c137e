"""The words read in images as an HTML page."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ovocr.pages.rendering import render_page
from ovocr.trainer.evaluation.reading.image_words import FoundWord, Reading
from ovocr.trainer.evaluation.reading.tiles import Tiling
from ovocr.views.view import Crop


class TileLabel(NamedTuple):
    """The words of one tile, best first, and where the tile is, as shares of the image's width and height."""

    words: list[FoundWord]
    left: float
    top: float
    width: float
    height: float


def reading_page(run: Path, readings: Sequence[Reading], *, tile: int | None, correct_sampling: bool) -> str:
    """Returns the page. The same readings give the same bytes.

    tile, correct_sampling: as for ``read_words``.
    """
    return render_page(
        __package__,
        images=True,
        title=f"Words that {run} reads",
        run=run,
        readings=[(reading, tile_labels(reading)) for reading in readings],
        highest=max((word.score for reading in readings for word in reading.words), default=0.0),
        tile=tile,
        correct_sampling=correct_sampling,
    )


def tile_labels(reading: Reading) -> list[TileLabel]:
    """Returns the tiles that have words, the one with the best word last, so that it is drawn over the others."""
    if reading.tiling is None:
        return []
    words: dict[Crop, list[FoundWord]] = {}
    for word in reading.words:
        if word.tile is not None:
            words.setdefault(word.tile, []).append(word)
    return [_label(found, tile, reading.tiling) for tile, found in reversed(words.items())]


def _label(words: list[FoundWord], tile: Crop, tiling: Tiling) -> TileLabel:
    return TileLabel(
        words,
        tile.left / tiling.width,
        tile.top / tiling.height,
        (tile.right - tile.left) / tiling.width,
        (tile.bottom - tile.top) / tiling.height,
    )
