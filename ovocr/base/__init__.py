"""Small shared tools: errors, files, object stores, memory sizes, the cache folder, text escaping and plurals.

Imports no other room of ovocr.
"""
