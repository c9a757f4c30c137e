"""Explains the tags of an image: its rows, lines, words and slots."""
