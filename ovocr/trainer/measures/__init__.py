"""Measures of reading: word AUC and word mAP over images, by text height, script and frequency, with intervals.

Imports heads, data, ranks, config and vocab.
"""
