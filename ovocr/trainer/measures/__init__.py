"""Measures of reading: word AUC and word mAP over images, by text height, script and frequency, with intervals.

Also reads the table of groups of images. Imports config, ranks and vocab. May also import heads and data.
"""
