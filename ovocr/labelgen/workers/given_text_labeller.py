"""Stores images and labels their lines from a table, in a worker process."""

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.lines import Line, box_size, whole_image
from ovocr.dataset.manifest import TagPolicy
from ovocr.dataset.outcome import Outcome, quarantined
from ovocr.dataset.reasons import QuarantinedError, Reason
from ovocr.labelgen.tables.line_batch import GivenLine
from ovocr.labelgen.tables.line_boxes import corners_cross
from ovocr.labelgen.workers.stored_image_labeller import StoredImageLabeller

_SHOWN_CHARACTERS = 40

# Key of an image, its lines, None if the table has no row for it, and the encoded image.
GivenImage = tuple[str, list[GivenLine] | None, bytes]


class GivenTextLabeller:
    """Turns a batch of images with given lines into outcomes. The arguments are as for StoredImageLabeller."""

    def __init__(self, data_set: LabelledDataSet, policy: TagPolicy, max_pixels: int) -> None:
        self._labeller = StoredImageLabeller(data_set, policy, max_pixels)

    def __call__(self, images: list[GivenImage]) -> list[Outcome]:
        """Returns the outcome of each image, which does not depend on the other images. Raises OvocrError."""
        return [self._label(key, lines, data) for key, lines, data in images]

    def _label(self, key: str, lines: list[GivenLine] | None, data: bytes) -> Outcome:
        image = self._labeller.store(data)
        if isinstance(image, Outcome):
            return image
        try:
            placed = place_lines(lines or [], image.width, image.height)
        except QuarantinedError as error:
            return quarantined(error.reason, error.detail)
        return self._labeller.label(key, image, placed, lines_given=lines is not None)


def place_lines(lines: list[GivenLine], width: int, height: int) -> list[Line]:
    """Returns the lines with boxes inside the image. width, height: size of the stored image in pixels.

    A line without a box gets the whole image. A box that is partly outside is clipped; its edges, fractions of the box
    as given, are then dropped. Raises QuarantinedError if the center of a box is outside, its corners cross, or it has
    no area.
    """
    return [_place(number, line, width, height) for number, line in enumerate(lines)]


def _place(number: int, line: GivenLine, width: int, height: int) -> Line:
    if line.box is None:
        return Line(line.text, line.score, whole_image(width, height))
    x, y = sum(line.box[0::2]) / 4, sum(line.box[1::2]) / 4
    if not (0 <= x <= width and 0 <= y <= height):
        raise _wrong_box(
            number,
            line,
            f"the center of its box {list(line.box)} is outside the image of {width}x{height} pixels; "
            "its boxes may be for another size of the image",
        )
    if corners_cross(line.box):
        raise _wrong_box(
            number, line, f"the corners of its box {list(line.box)} cross; list them clockwise from the top left"
        )
    clipped = tuple(
        min(max(value, 0.0), float(limit)) for value, limit in zip(line.box, (width, height) * 4, strict=True)
    )
    if not min(box_size(clipped)) > 0:
        raise _wrong_box(number, line, f"its box {list(line.box)} has no area in the image of {width}x{height} pixels")
    return Line(line.text, line.score, clipped, line.edges if clipped == line.box else ())


def _wrong_box(number: int, line: GivenLine, problem: str) -> QuarantinedError:
    text = line.text if len(line.text) <= _SHOWN_CHARACTERS else f"{line.text[:_SHOWN_CHARACTERS]}…"
    return QuarantinedError(Reason.WRONG_BOXES, f"line {number} ({text!r}): {problem}")
