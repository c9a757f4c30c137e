"""Distorted copies of pages: another shape, angle, contrast, sharpness and grain, with the same words."""

import random

import cv2
import numpy as np
from numpy.typing import NDArray

_STRETCH, _SIZE = 0.22, 0.18  # largest change of width / height and of the size, logarithms
_ANGLE, _SHEAR = 1.2, 0.06  # standard deviations, in degrees and as a share of the height
_NEGATIVES = 0.1  # share of the copies with inverted brightness


def distort(
    page: NDArray[np.uint8], boxes: NDArray[np.float64], dice: random.Random
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Returns a distorted copy of a page, uint8 [H, W, 3], and its boxes, float64 [N, 4, 2], in pixels."""
    turn, sides = _transform(page.shape[1], page.shape[0], dice)
    border = np.median(page[:: max(1, len(page) // 50)].reshape(-1, 3), axis=0).tolist()
    bent = cv2.warpAffine(page, turn, sides, flags=cv2.INTER_LINEAR, borderValue=border)
    return _develop(np.asarray(bent, np.float32), dice), boxes @ turn[:, :2].T + turn[:, 2]


def _transform(width: int, height: int, dice: random.Random) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Returns an affine transform, float64 [2, 3], and width and height of what it makes of a page."""
    stretch, size = dice.uniform(-_STRETCH, _STRETCH), dice.uniform(-_SIZE, _SIZE)
    angle, shear = np.deg2rad(dice.gauss(0, _ANGLE)), dice.gauss(0, _SHEAR)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag(np.exp([size + stretch / 2, size - stretch / 2]))
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)]) @ linear.T
    low, high = corners.min(axis=0), corners.max(axis=0)
    sides = np.ceil(high - low).astype(int).tolist()
    return np.column_stack([linear, -low]), (max(1, sides[0]), max(1, sides[1]))


def _develop(page: NDArray[np.float32], dice: random.Random) -> NDArray[np.uint8]:
    """Changes sharpness, contrast, brightness and grain."""
    if dice.random() < 0.5:
        page = np.asarray(cv2.GaussianBlur(page, (0, 0), dice.uniform(0.4, 1.4)), np.float32)
    if dice.random() < _NEGATIVES:
        page = 255 - page
    middle = float(page.mean())
    page = (page - middle) * dice.uniform(0.5, 1.3) + middle + dice.uniform(-40, 40)
    grain = np.random.default_rng(dice.getrandbits(32)).normal(0, dice.uniform(0, 10), page.shape[:2])
    return (page + grain[:, :, None]).clip(0, 255).astype(np.uint8)
