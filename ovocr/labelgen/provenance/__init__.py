"""Explains the tags of an image: its rows, its lines, their words, and the words that took the slots."""
