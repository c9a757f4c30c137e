"""Words (normalise, segment) and the vocabulary that gives them class ids."""

from ovocr.vocab.segmentation.segmenter import (
    LocatedWord,
    Segmentation,
    load_segmenter,
    locate_words,
    segment,
    segment_lines,
)
from ovocr.vocab.vocabulary import Vocabulary

__all__ = ["LocatedWord", "Segmentation", "Vocabulary", "load_segmenter", "locate_words", "segment", "segment_lines"]
