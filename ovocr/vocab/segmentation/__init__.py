"""Segmentation: lines of text to normalised words, with rules per script. Imports base and vocab.text_cache."""
