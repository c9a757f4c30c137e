"""Maps offsets in a normalised line to offsets in the line as it was read."""

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from ovocr.vocab.segmentation.normalisation import normalise_inside

_HANGUL_VOWELS_AND_FINALS = range(0x1160, 0x1200)


def line_offsets(line: str, normalised: str) -> list[float]:
    """Returns the offset in ``line`` of each edge between characters of ``normalised``, and of its two ends.

    The offset of an edge inside a character that normalisation expands (½) has a fraction.

    normalised: the normalised line, to which a hyphen may have been added.

    Returns float [len(normalised) + 1], in ascending order, from 0 to len(line).
    """
    if line.isascii():
        text, edges = normalise_inside(line), [float(offset) for offset in range(len(line) + 1)]
    else:
        text, edges = _normalise_clusters(line)
    start = len(text) - len(text.lstrip(" "))
    edges = edges[start : start + len(text.strip(" ")) + 1]
    if len(edges) == len(normalised):  # a hyphen was added for a soft hyphen
        edges.append(float(len(line)))
    if len(edges) == len(normalised) + 1:
        return edges
    # Characters that combine in a way that the clusters do not show: spread the edges evenly.
    return [len(line) * edge / max(1, len(normalised)) for edge in range(len(normalised) + 1)]


def _normalise_clusters(line: str) -> tuple[str, list[float]]:
    """Returns the line, normalised cluster by cluster, and the offset of each edge of its characters."""
    parts, edges, start = [], [0.0], 0
    for cluster in _clusters(line):
        part = _normalise_cluster(cluster)
        parts.append(part)
        edges += [start + len(cluster) * edge / len(part) for edge in range(1, len(part) + 1)]
        start += len(cluster)
        if not part:
            edges[-1] = float(start)
    return "".join(parts), edges


def _clusters(line: str) -> Iterator[str]:
    """Yields the parts of a line that are normalised alone.

    A part is a character with the marks that combine with it, and with the invisible characters that are removed.
    """
    start = 0
    for end, character in enumerate(line[1:], 1):
        if not _combines(character):
            yield line[start:end]
            start = end
    yield line[start:]


@lru_cache(maxsize=65_536)
def _normalise_cluster(cluster: str) -> str:
    return normalise_inside(cluster)


@lru_cache(maxsize=65_536)
def _combines(character: str) -> bool:
    """Returns True for a character that normalisation removes or may join with the one before it."""
    if not _normalise_cluster(character):
        return True
    first = unicodedata.normalize("NFKC", character)[0]
    return unicodedata.category(first).startswith("M") or ord(character) in _HANGUL_VOWELS_AND_FINALS
