"""Tagging: from the lines of an image to its words, tags and 100 slots. Imports dataset, vocab and base."""
