"""Tables by image key that users give: files, columns, cells, and lookup by key. Imports base."""

from ovocr.labelgen.tables.label_table import LabelTable

__all__ = ["LabelTable"]
