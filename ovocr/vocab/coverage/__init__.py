"""How well vocabularies suit a corpus: figures, a table for a terminal, and a page."""

from ovocr.vocab.coverage.figures import Coverage
from ovocr.vocab.coverage.measuring import measure, measure_coverage
from ovocr.vocab.coverage.report import NamedVocabulary, Report

__all__ = ["Coverage", "NamedVocabulary", "Report", "measure", "measure_coverage"]
