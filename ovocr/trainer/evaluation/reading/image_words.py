"""The words that an encoder reads in one image, as text and as JSON."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ovocr.base.escape import as_text, for_terminal
from ovocr.trainer.evaluation.reading.tiles import Tiling
from ovocr.views.view import Crop


class FoundWord(NamedTuple):
    """A word and its score: the cosine, corrected if requested. tile: the tile with this score; None without tiles."""

    word: str
    score: float
    tile: Crop | None = None

    def format(self) -> str:
        """Returns a line for a terminal: score, word, and the center of the tile."""
        line = f"  {self.score:6.3f}  {for_terminal(self.word)}"
        if self.tile is None:
            return line
        return f"{line}  ({(self.tile.left + self.tile.right) // 2}, {(self.tile.top + self.tile.bottom) // 2})"

    def to_json(self) -> dict[str, Any]:
        """Returns the word as JSON values."""
        found: dict[str, Any] = {"word": self.word, "score": self.score}
        return found if self.tile is None else {**found, "box": list(self.tile)}


@dataclass(frozen=True)
class Reading:
    """Words found in one image, most likely first. image: its path or URL.

    tiling: the tiles that the image was read in; None: it was shown whole. jpeg: the image for a page, if requested.
    """

    image: Path | str
    words: list[FoundWord]
    tiling: Tiling | None = None
    jpeg: bytes | None = None

    def format(self) -> str:
        """Returns text for a terminal: the image's path, with tiles a line about them, then a line per word."""
        lines = [f"{for_terminal(str(self.image))}:"]
        if self.tiling is not None:
            lines.append(f"  {self.tiling}")
        return "\n".join([*lines, *(word.format() for word in self.words)])

    def to_json(self) -> dict[str, Any]:
        """Returns the reading as JSON values."""
        return {
            "path": as_text(str(self.image)),
            "tiles": None if self.tiling is None else self.tiling.count,
            "words": [word.to_json() for word in self.words],
        }
