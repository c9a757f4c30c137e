"""Parts of `ovocr read`: tiles of an image, the best words of all tiles, the words of an image, and their page.

Imports data, views, pages and base.
"""
