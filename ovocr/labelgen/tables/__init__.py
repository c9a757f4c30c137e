"""Tables by image key that users give: files, columns, cells, and lookup by key.

Class ids are for pack-labels, lines of text for build-labels. Imports dataset and base.
"""

from ovocr.labelgen.tables.label_table import LabelTable
from ovocr.labelgen.tables.line_table import LineTable

__all__ = ["LabelTable", "LineTable"]
