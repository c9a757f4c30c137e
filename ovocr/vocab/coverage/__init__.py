"""Coverage: how well vocabularies suit the stored text of data sets, as figures, a terminal table and an HTML page.

Imports the modules of vocab, dataset, pages, processes and base, but not vocab.building.
"""

from ovocr.vocab.coverage.figures import Coverage
from ovocr.vocab.coverage.measuring import measure, measure_coverage
from ovocr.vocab.coverage.report import NamedVocabulary, Report

__all__ = ["Coverage", "NamedVocabulary", "Report", "measure", "measure_coverage"]
