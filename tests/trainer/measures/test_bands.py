"""Bands of text height and of frequency."""

import numpy as np

from ovocr.trainer.measures.bands import FREQUENCY_BANDS, HEIGHT_BANDS, frequency_bands, height_bands


def test_height_bands_by_hand() -> None:
    assert HEIGHT_BANDS == ("<6", "6-8", "8-12", "12-16", "16-24", "24-48", "48+", "unknown")
    heights = [0, 5.99, 6, 7.99, 8, 11.99, 12, 15.99, 16, 23.99, 24, 47.99, 48, 400, np.nan]
    assert height_bands(np.array([-np.inf], np.float32)).tolist() == [-1]  # a word that is cut
    assert [HEIGHT_BANDS[band] for band in height_bands(np.array(heights, np.float32))] == [
        *("<6", "<6", "6-8", "6-8", "8-12", "8-12", "12-16", "12-16", "16-24", "16-24", "24-48", "24-48"),
        *("48+", "48+", "unknown"),
    ]


def test_frequency_bands_by_hand() -> None:
    counts = np.array([0, 1, 2, 9, 10, 99, 100, 999, 1000, 10**6])
    assert [FREQUENCY_BANDS[band] for band in frequency_bands(counts, 12)] == [
        *("never", "1", "2-9", "2-9", "10-99", "10-99", "100-999", "100-999", "1,000+", "1,000+"),
        *("never", "never"),
    ]
