"""Words: segmentation of lines, vocabularies that number words, their building and their coverage of a corpus.

Imports processes, views, dataset and base; the room coverage also imports pages.
"""

from ovocr.vocab.segmentation.segmenter import (
    FoundWord,
    LocatedWord,
    Segmentation,
    find_words,
    load_segmenter,
    locate_words,
    segment,
    segment_lines,
)
from ovocr.vocab.vocabulary import Vocabulary

__all__ = [
    "FoundWord",
    "LocatedWord",
    "Segmentation",
    "Vocabulary",
    "find_words",
    "load_segmenter",
    "locate_words",
    "segment",
    "segment_lines",
]
