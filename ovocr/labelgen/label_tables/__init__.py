"""Class ids of images from a table: its files, its columns, its cells, and the look-up by key."""

from ovocr.labelgen.label_tables.lookup import LabelTable

__all__ = ["LabelTable"]
