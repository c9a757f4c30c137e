"""Turns images into supervision for reading: OCR words as tags, and a vision encoder trained on them."""

__version__ = "0.1.0"
