"""Checks every file, index, count, row, record and hash of a labelled data set against its manifest and statistics."""
