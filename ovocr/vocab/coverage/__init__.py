"""Coverage: how well vocabularies suit the stored text of data sets, as figures, a terminal table and an HTML page.

Imports the other modules of vocab except building, and processes, dataset, pages and base.
"""

from ovocr.vocab.coverage.figures import Coverage
from ovocr.vocab.coverage.measuring import measure, measure_coverage
from ovocr.vocab.coverage.report import NamedVocabulary, Report

__all__ = ["Coverage", "NamedVocabulary", "Report", "measure", "measure_coverage"]
