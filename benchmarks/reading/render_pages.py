"""Rendered pages with receipt-like and form-like text; the same text and number give the same page.

Every page has its own typeface, width and size, as printers produce. Then the page is tilted, unevenly lit, blurred and
given noise.
"""

import random
from collections.abc import Callable

import cv2
import numpy as np
from page_text import PageText
from PIL import Image
from typefaces import Mask, printed_pen, scaled


def render_page(number: int, text: PageText) -> Image.Image:
    """Returns page ``number``: grey letters on a bright background, a third of its lines phrases, the others words."""
    dice = random.Random(number)
    width, height = dice.randint(460, 800), dice.randint(620, 1000)
    ink = np.zeros((height, width), np.uint8)
    size, stretch, leading = dice.uniform(18, 34), dice.uniform(0.6, 1.1), dice.uniform(1.1, 1.7)
    pen = printed_pen(dice)
    letter_case = dice.choices((str.upper, str.title, str.lower), (4, 4, 2))[0]
    margin, top = dice.randint(8, 40), dice.uniform(8, 40)
    while top + 2 * size < height:
        if dice.random() < 0.15:
            pen = printed_pen(dice)
        line_size = size * dice.choice((1, 1, 1, 1, 1.3))
        taken = margin  # columns of this line that already have text
        for shown, position in _make_line(dice, text, letter_case):
            mask = scaled(pen(shown), line_size, stretch)
            left = margin + round(position * (width - 2 * margin - mask.shape[1]))
            if left >= taken:  # text that does not fit is left out
                _put(ink, mask, left, round(top))
                taken = left + mask.shape[1] + round(line_size / 2)
        top += line_size * leading * dice.choices((1, 2), (8, 1))[0]
    return _photograph(ink, dice, np.random.default_rng(number))


def render_words(number: int, shown: str) -> Image.Image:
    """Returns words on a piece of paper of their size, in the typeface of this number."""
    dice = random.Random(number)
    mask = scaled(printed_pen(dice)(shown), dice.uniform(28, 40), dice.uniform(0.7, 1.1))
    ink = np.pad(mask[mask.shape[0] // 6 :], ((0, 0), (6, 6)))
    return _photograph(ink, dice, np.random.default_rng(number))


def _make_line(dice: random.Random, text: PageText, letter_case: Callable[[str], str]) -> list[tuple[str, float]]:
    """Returns the texts of a line, each with its position between the left margin, 0, and the right one, 1."""
    kind = dice.random()
    if kind < 0.33:
        phrase = text.draw_phrase(dice)
        return [(dice.choice((phrase, phrase, letter_case(phrase))), dice.choice((0.0, 0.0, 0.5)))]
    words = [letter_case(word) for word in text.draw_words(dice, dice.randint(1, 3))]
    if kind < 0.66:
        return [(" ".join(words), dice.choice((0.0, 0.0, 0.5)))]
    if kind < 0.85:  # two columns
        others = [letter_case(word) for word in text.draw_words(dice, dice.randint(1, 2))]
        return [(f"{' '.join(words)}{dice.choice(('', ':', ' :'))}", 0.0), (" ".join(others), dice.choice((0.9, 1.0)))]
    number = f"{dice.choice(('', '', '', 'RM'))}{dice.randint(0, 199)}.{dice.randint(0, 99):02d}"
    return [(f"{' '.join(words)}{dice.choice(('', ':', ' :'))}", 0.0), (number, 1.0)]


def _put(ink: Mask, mask: Mask, left: int, top: int) -> None:
    """Adds the letters of a mask, whose upper third is empty."""
    top -= mask.shape[0] // 6
    first, last = max(0, -top), min(mask.shape[0], ink.shape[0] - top)
    target = ink[top + first : top + last, left : left + mask.shape[1]]
    np.maximum(target, mask[first:last, : target.shape[1]], out=target)


def _photograph(ink: Mask, dice: random.Random, noise: np.random.Generator) -> Image.Image:
    """Applies tilt, light, blur and grain."""
    height, width = ink.shape
    turned = cv2.getRotationMatrix2D((width / 2, height / 2), dice.gauss(0, 0.8), 1.0)
    share = cv2.warpAffine(ink, turned, (width, height), flags=cv2.INTER_LINEAR).astype(np.float32) / 255
    if dice.random() < 0.4:
        share = cv2.GaussianBlur(share, (0, 0), dice.uniform(0.4, 1.1))
    paper, darkest = dice.uniform(185, 255), dice.uniform(0, 110)
    slope = np.linspace(dice.uniform(-25, 0), dice.uniform(0, 25), height, dtype=np.float32)[:, None]
    grey = (paper + slope) * (1 - share) + darkest * share
    grey += noise.normal(0, dice.uniform(0, 9), grey.shape).astype(np.float32)
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8))
