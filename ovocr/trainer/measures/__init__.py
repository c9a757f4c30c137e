"""Measures of reading: word AUC and word mAP over images, by text height, script and frequency, with intervals.

Imports ranks and vocab. May also import heads, data and config.
"""
