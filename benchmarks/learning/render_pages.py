"""Rendered pages of receipt-like text for the learning experiment; the same phrases and number give the same page.

The fonts are those inside Matplotlib, OpenCV and Pillow, so no font needs to be installed. Every line of a page has its
own typeface, width and size, some monospaced or dot-matrix, as receipt printers produce. Then the page is tilted,
unevenly lit, blurred and given noise.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_DRAWN_SIZE = 48  # pixels; letters are drawn at this size and then scaled to the page
_TRUETYPE = ("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSans", "DejaVuSerif", "STIXGeneral", "cmtt10")
_HERSHEY = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)

Mask = NDArray[np.uint8]
Pen = Callable[[str], Mask]


@dataclass(frozen=True)
class Phrases:
    """The text of pages: phrases that are drawn unchanged except for digits, and words, each with its probability."""

    phrases: Sequence[str]
    words: Sequence[str]
    cumulative: Sequence[float]

    @classmethod
    def of(cls, phrases: Sequence[str], weights: Mapping[str, float]) -> "Phrases":
        """Creates phrases and words. weights: weight of each word, above 0, with any sum."""
        return cls(phrases, list(weights), list(accumulate(weights.values())))

    def draw_phrase(self, dice: random.Random) -> str:
        """Returns a random phrase with random digits."""
        return re.sub("[0-9]", lambda _: str(dice.randrange(10)), dice.choice(self.phrases))

    def draw_words(self, dice: random.Random, count: int) -> list[str]:
        """Returns this many independent words."""
        return dice.choices(self.words, cum_weights=self.cumulative, k=count)


def render_page(number: int, text: Phrases) -> Image.Image:
    """Returns page ``number``: grey letters on a bright background, half of its lines phrases, half words."""
    dice = random.Random(number)
    width, height = dice.randint(460, 800), dice.randint(620, 1100)
    ink = np.zeros((height, width), np.uint8)
    pen, size = _choose_pen(dice), dice.uniform(18, 34)
    stretch, leading = dice.uniform(0.6, 1.1), dice.uniform(1.1, 1.8)
    letter_case = dice.choices((str.upper, str.title, str.lower), (5, 4, 1))[0]
    margin, top = dice.randint(8, 50), dice.uniform(8, 60)
    while top + 2 * size < height:
        line_size = size * dice.choice((1, 1, 1, 1, 1.3))
        taken = margin  # columns of this line that already have text
        for shown, position in _make_line(dice, text, letter_case):
            mask = _scaled(pen(shown), line_size, stretch)
            left = margin + round(position * (width - 2 * margin - mask.shape[1]))
            if left >= taken:  # text that does not fit is left out
                _put(ink, mask, left, round(top))
                taken = left + mask.shape[1] + round(line_size / 2)
        top += line_size * leading * dice.choices((1, 2), (6, 1))[0]
    return _photograph(ink, dice, np.random.default_rng(number))


def _make_line(dice: random.Random, text: Phrases, letter_case: Callable[[str], str]) -> list[tuple[str, float]]:
    """Returns the texts of a line, each with its position between the left margin, 0, and the right one, 1."""
    if dice.random() < 0.5:
        phrase = text.draw_phrase(dice)
        return [(dice.choice((phrase, phrase, letter_case(phrase))), dice.choice((0.0, 0.0, 0.5)))]
    words = [letter_case(word) for word in text.draw_words(dice, dice.randint(1, 3))]
    if dice.random() < 0.5:
        return [(" ".join(words), dice.choice((0.0, 0.0, 0.5)))]
    number = f"{dice.choice(('', '', '', 'RM'))}{dice.randint(0, 199)}.{dice.randint(0, 99):02d}"
    return [(f"{' '.join(words)}{dice.choice(('', ':', ' :'))}", 0.0), (number, 1.0)]


def _choose_pen(dice: random.Random) -> Pen:
    """Returns a typeface, proportional or monospaced, smooth or dot-matrix."""
    kind = dice.choice(("truetype", "truetype", "pillow", "outlines", "strokes"))
    if kind == "truetype":
        face = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{dice.choice(_TRUETYPE)}.ttf")
        pen: Pen = partial(_with_pillow, font=ImageFont.truetype(face, _DRAWN_SIZE), bold=0)
    elif kind == "pillow":
        pen = partial(_with_pillow, font=ImageFont.load_default(_DRAWN_SIZE), bold=dice.choice((0, 0, 1)))
    elif kind == "outlines":
        outlines, weight = cv2.FontFace(dice.choice(("sans", "sans", "italic", "uni"))), dice.randint(250, 700)
        pen = partial(_with_outlines, face=outlines, weight=weight)
    else:
        pen = partial(_with_strokes, hershey=dice.choice(_HERSHEY), thickness=dice.randint(2, 5))
    if dice.random() < 0.5:
        pen = partial(_monospaced, pen=pen, pitch=dice.uniform(0.58, 0.72))
    return partial(_dot_matrix, pen=pen, dots=dice.randint(20, 32)) if dice.random() < 0.35 else pen


def _canvas(letters: int) -> Mask:
    return np.zeros((2 * _DRAWN_SIZE, _DRAWN_SIZE * (letters + 2)), np.uint8)


def _with_pillow(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, bold: int) -> Mask:
    image = Image.fromarray(_canvas(len(text)))
    ImageDraw.Draw(image).text((4, 16), text, fill=255, font=font, stroke_width=bold)
    return _trimmed(np.asarray(image))


def _with_outlines(text: str, face: cv2.FontFace, weight: int) -> Mask:
    canvas = _canvas(len(text))
    cv2.putText(canvas, text, (8, 64), (255,), face, _DRAWN_SIZE, weight)
    return _trimmed(canvas)


def _with_strokes(text: str, hershey: int, thickness: int) -> Mask:
    canvas = _canvas(len(text))
    cv2.putText(canvas, text, (8, 64), hershey, _DRAWN_SIZE / 30, (255,), thickness, cv2.LINE_AA)
    return _trimmed(canvas)


def _monospaced(text: str, pen: Pen, pitch: float) -> Mask:
    """Draws each letter in its own cell; letters that are too wide are narrowed."""
    cell = round(pitch * _DRAWN_SIZE)
    row = np.zeros((2 * _DRAWN_SIZE, cell * len(text)), np.uint8)
    for index, letter in enumerate(text):
        if letter == " ":
            continue
        mask = pen(letter)
        if mask.shape[1] > cell - 2:
            mask = cv2.resize(mask, (cell - 2, mask.shape[0]), interpolation=cv2.INTER_AREA)
        left = index * cell + (cell - mask.shape[1]) // 2
        row[:, left : left + mask.shape[1]] = mask
    return row


def _dot_matrix(text: str, pen: Pen, dots: int) -> Mask:
    """Draws full or empty dots, with a fixed number per letter height."""
    smooth = pen(text)
    scale = dots / _DRAWN_SIZE
    sides = max(1, round(smooth.shape[1] * scale)), round(smooth.shape[0] * scale)
    coarse = cv2.resize(smooth, sides, interpolation=cv2.INTER_AREA)
    return cv2.resize(np.where(coarse > 96, 255, 0).astype(np.uint8), smooth.shape[::-1])


def _trimmed(canvas: Mask) -> Mask:
    """Returns the columns with ink; all rows are kept, so that letters share a baseline."""
    columns = np.flatnonzero(canvas.any(axis=0))
    return canvas[:, columns[0] : columns[-1] + 1] if len(columns) else canvas[:, :1]


def _scaled(mask: Mask, size: float, stretch: float) -> Mask:
    scale = size / _DRAWN_SIZE
    sides = (max(1, round(mask.shape[1] * scale * stretch)), max(1, round(mask.shape[0] * scale)))
    return cv2.resize(mask, sides, interpolation=cv2.INTER_AREA)


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
