"""Tables of class ids for ``pack-labels``: files, columns, cells, and lookup by key. Imports base."""

from ovocr.labelgen.label_tables.lookup import LabelTable

__all__ = ["LabelTable"]
