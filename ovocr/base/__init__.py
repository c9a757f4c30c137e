"""Small shared tools: errors, files, object stores, memory sizes, the cache folder and text escaping.

Imports no other room of ovocr.
"""
