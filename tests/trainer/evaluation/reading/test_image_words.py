"""Text and JSON of the words of an image."""

import json
from pathlib import Path

from ovocr.trainer.evaluation.reading.image_words import FoundWord, Reading
from ovocr.trainer.evaluation.reading.tiles import Tiling
from ovocr.views.view import Crop

TILED = [FoundWord("hotel", 0.5, Crop(0, 0, 33, 32)), FoundWord("\x1b[31m", -0.125, Crop(68, 38, 100, 70))]


def test_text() -> None:
    assert Reading(Path("a\n.png"), [FoundWord("酒店", 0.5)]).format() == "a\\n.png:\n   0.500  酒店"
    assert Reading(Path("a.png"), TILED, Tiling(100, 70, 32)).format().splitlines() == [
        "a.png:",
        "  24 tiles of 32 x 32 pixels",
        "   0.500  hotel  (16, 16)",
        "  -0.125  \\x1b[31m  (84, 54)",
    ]


def test_json() -> None:
    whole = Reading(Path("\udcff.png"), [FoundWord("酒店", 0.5)]).to_json()
    assert whole == {"path": "\\udcff.png", "tiles": None, "words": [{"word": "酒店", "score": 0.5}]}
    tiled = Reading(Path("a.png"), TILED[:1], Tiling(100, 70, 32)).to_json()
    assert tiled["tiles"] == 24
    assert json.loads(json.dumps(tiled))["words"] == [{"word": "hotel", "score": 0.5, "box": [0, 0, 33, 32]}]
