"""Tagging: from the lines of an image to its words, tags and slots.

Imports vocab, processes, dataset, recordio and base.
"""
