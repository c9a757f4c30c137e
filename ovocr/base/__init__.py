"""What everything stands on: errors, files, object stores, memory sizes, the cache folder, visible text, plurals.

Imports no other room of ovocr.
"""
