"""Decides from a detector's result whether an image needs a closer look: detection at a higher resolution.

At the usual resolution a detector loses text in two ways. Lines of small print are thinner than what it was trained on
and run into each other. And lines that are close together, or curved, can become one area, whose score is then too low.
The decision depends on the image alone, so results do not depend on other images.
"""

import numpy as np

from ovocr.dataset.lines import Box, box_size
from ovocr.labelgen.engines.interface import Detection

# The longer side of the detector's input at the first look, in pixels. Smaller images are not enlarged.
FIRST_SIDE = 960
# The resolution of the second look, as a multiple of the first one.
CLOSER = 1.5
# The longer side of the input at any look. At the third look it is as long as this or as the image.
LONGEST_SIDE = 2000
LOOKS = 3
# A quarter of the lines are thinner than this, in pixels of the detector's input.
SMALL_TEXT = 12.0
# An area is several lines in one if its score is too low, it is thicker than lines and larger than several of them.
REJECTED_SCORE = 0.2
_MERGED_THICKNESS = 1.5
_MERGED_AREA = 2.0
# Fewer lines have no typical thickness.
_FEWEST_LINES = 3
# On a page whose lines all run into each other, so many areas are rejected, and no fewer than are accepted. The same
# happens in photographs without text, so the image must be larger than the input.
_MANY_REJECTED = 10
_SHRUNK = 0.8

SETTINGS = {"detection_side": FIRST_SIDE, "closer_look": CLOSER, "longest_side": LONGEST_SIDE, "small_text": SMALL_TEXT}


def needs_closer_look(found: Detection) -> bool:
    """Returns True if the detector has probably missed lines of text in the image."""
    if found.scale < _SHRUNK and len(found.rejected) >= max(_MANY_REJECTED, len(found.regions)):
        return True
    if len(found.regions) < _FEWEST_LINES:
        return False
    sizes = np.array([_thickness_and_area(region.box) for region in found.regions])
    if np.quantile(sizes[:, 0], 0.25) * found.scale < SMALL_TEXT:
        return True
    typical = np.median(sizes, axis=0)
    rejected = np.array([_thickness_and_area(box) for box in found.rejected]).reshape(-1, 2)
    return bool((rejected >= typical * (_MERGED_THICKNESS, _MERGED_AREA)).all(axis=1).any())


def detector_side(longer: int, look: int) -> int | None:
    """Returns the longer side of the detector's input in pixels; None if it is no larger than at the look before.

    longer: longer side of the image in pixels. look: 0 for the first look, less than LOOKS.
    """
    first = min(FIRST_SIDE, longer)
    sides = [first, min(round(CLOSER * first), LONGEST_SIDE), min(longer, LONGEST_SIDE)]
    return sides[look] if look == 0 or sides[look] > sides[look - 1] else None


def _thickness_and_area(box: Box) -> tuple[float, float]:
    across, down = box_size(box)
    return min(across, down), across * down
