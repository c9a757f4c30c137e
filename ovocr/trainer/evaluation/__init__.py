"""Measures a trained run (recall, examples, HTML report) and reads words in images.

Imports training, measures, heads, backbone, data, config, ranks and pages.
"""
