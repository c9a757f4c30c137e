"""The boxes over a picture: of lines, of tags, and of words that the vocabulary lacks."""

from ovocr.dataset.boxes import Box
from ovocr.labelgen.inspection.images import InspectedImage


def boxes(image: InspectedImage, width: int, height: int) -> str:
    """An SVG to be laid over the picture, in pixels of the stored one; nothing where nothing was read.

    What belongs together has the same number in data-line, data-tag or data-left-out, here and in the lists.
    """
    if not image.lines:
        return ""
    lines = "".join(_polygon(line.line.box, f'data-line="{n}"') for n, line in enumerate(image.lines))
    tags = "".join(
        _polygon(tag.box, f'data-tag="{n}" data-of="{tag.line}"')
        for n, tag in enumerate(image.tags)
        if tag.box is not None
    )
    words = [(number, word.box) for number, line in enumerate(image.lines) for word in line.words if word.id is None]
    left_out = "".join(_polygon(box, f'data-left-out="{n}" data-of="{line}"') for n, (line, box) in enumerate(words))
    return (
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" aria-hidden="true">'
        f'<g class="line-boxes">{lines}</g><g class="left-out-boxes">{left_out}</g>'
        f'<g class="tag-boxes">{tags}</g></svg>'
    )


def _polygon(box: Box, attributes: str) -> str:
    points = " ".join(f"{x:g},{y:g}" for x, y in zip(box[::2], box[1::2], strict=True))
    return f'<polygon points="{points}" {attributes}/>'
