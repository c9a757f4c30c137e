"""Rendered scenes: words on signs in front of photographs or plain colours; the same inputs give the same scene."""

import random
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from page_text import PageText
from PIL import Image
from typefaces import Mask, scaled, sign_pen

SIDE = 640  # pixels of a scene
SIZES = (24, 84)  # font sizes
ATTEMPTS = 24  # signs that are drawn; those that would overlap are left out
_LEAST_CONTRAST = 55  # of the brightness of letters and their ground

Pixels = NDArray[np.float32]


def render_scene(number: int, text: PageText, photos: Sequence[Path]) -> Image.Image:
    """Returns scene ``number``: up to ATTEMPTS signs of one to three words. photos: images for the backgrounds."""
    dice, noise = random.Random(number), np.random.default_rng(number)
    scene = _background(dice, noise, photos)
    taken = np.zeros((SIDE, SIDE), bool)
    for _ in range(ATTEMPTS):
        letter_case = dice.choices((str.upper, str.title, str.lower), (5, 4, 2))[0]
        shown = " ".join(letter_case(word) for word in text.draw_words(dice, dice.choices((1, 2, 3), (6, 2, 1))[0]))
        mask = scaled(
            sign_pen(dice)(shown), float(np.exp(dice.uniform(np.log(24), np.log(84)))), dice.uniform(0.7, 1.3)
        )
        mask = _warped(np.pad(mask, ((0, 0), (mask.shape[0] // 4,) * 2)), dice)
        height, width = mask.shape
        if width >= SIDE or height >= SIDE:
            continue
        left, top = dice.randrange(SIDE - width), dice.randrange(SIDE - height)
        place = np.s_[top : top + height, left : left + width]
        if taken[place].any():
            continue
        taken[place] = True
        _paint(scene[place], mask, dice)
    if dice.random() < 0.5:
        scene = cv2.GaussianBlur(scene, (0, 0), dice.uniform(0.5, 1.6))
    scene = scene * dice.uniform(0.7, 1.15) + noise.normal(0, dice.uniform(0, 12), scene.shape).astype(np.float32)
    return Image.fromarray(scene.clip(0, 255).astype(np.uint8))


def _background(dice: random.Random, noise: np.random.Generator, photos: Sequence[Path]) -> Pixels:
    """Returns a part of a photograph, or a slope between two colours, float32 [SIDE, SIDE, 3]."""
    if photos and dice.random() < 0.5:
        with Image.open(dice.choice(photos)) as image:
            part = min(image.size)
            side = dice.randint(part // 2, part)
            left, top = dice.randint(0, image.width - side), dice.randint(0, image.height - side)
            photo = image.convert("RGB").resize((SIDE, SIDE), box=(left, top, left + side, top + side))
        flat = dice.uniform(0.2, 1.0)  # a plain ground at 0
        pixels = np.asarray(photo, np.float32)
        return pixels * flat + pixels.mean(axis=(0, 1)) * (1 - flat)
    first, second = (noise.uniform(0, 255, 3).astype(np.float32) for _ in range(2))
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE
    angle = dice.uniform(0, 6.3)
    share = (np.cos(angle) * rows + np.sin(angle) * columns)[:, :, None] / 2 + 0.5
    return first * (1 - share) + second * share


def _warped(mask: Mask, dice: random.Random) -> Mask:
    """Turns, shears and tilts a mask a little; its rectangle grows accordingly."""
    height, width = mask.shape
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    angle, shear = np.deg2rad(dice.gauss(0, 5)), dice.gauss(0, 0.12)
    turned = corners @ np.array([[np.cos(angle), np.sin(angle)], [shear - np.sin(angle), np.cos(angle)]], np.float32)
    turned += np.array([[dice.gauss(0, 0.06) * height for _ in "xy"] for _ in corners], np.float32)
    turned -= turned.min(axis=0)
    sides = np.ceil(turned.max(axis=0)).astype(int) + 1
    transform = cv2.getPerspectiveTransform(corners, turned.astype(np.float32))
    return np.asarray(cv2.warpPerspective(mask, transform, (int(sides[0]), int(sides[1]))), np.uint8)


def _paint(ground: Pixels, mask: Mask, dice: random.Random) -> None:
    """Draws the letters into a part of the scene: some on a plate, some with an outline or a shadow."""
    share = mask.astype(np.float32)[:, :, None] / 255
    if dice.random() < 0.5:
        plate = _colour(dice)
        ground[:] = ground * 0.1 + plate * 0.9
    letters = _contrasting(dice, float(ground.mean()))
    if dice.random() < 0.25:
        wide = cv2.dilate(mask, np.ones((5, 5), np.uint8)).astype(np.float32)[:, :, None] / 255
        ground[:] = ground * (1 - wide) + _contrasting(dice, float(letters.mean())) * wide
    elif dice.random() < 0.25:
        shift = dice.randint(1, 4)
        shadow = np.roll(share, (shift, shift), axis=(0, 1)) * 0.7
        ground[:] = ground * (1 - shadow) + (0 if letters.mean() > 128 else 255) * shadow
    ground[:] = ground * (1 - share) + letters * share


def _colour(dice: random.Random) -> Pixels:
    return np.array([dice.uniform(0, 255) for _ in "rgb"], np.float32)


def _contrasting(dice: random.Random, brightness: float) -> Pixels:
    """Returns a colour whose brightness differs enough from another one; often black or white."""
    if dice.random() < 0.4:
        return np.full(3, 15 if brightness > 128 else 240, np.float32)
    while True:
        colour = _colour(dice)
        if abs(float(colour.mean()) - brightness) >= _LEAST_CONTRAST:
            return colour
