"""Draws text as a mask in one of many typefaces, smooth or dot-matrix, proportional or monospaced.

The fonts are files inside Python packages (Matplotlib and the extra `bench`), OpenCV and Pillow, so no font needs to be
installed.
"""

import importlib.util
import random
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

DRAWN_SIZE = 60  # pixels; letters are drawn at this size and then scaled to the page
_MATPLOTLIB = ("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "STIXGeneral")
_PACKAGES = (
    *("font_caladea", "font_fredoka_one", "font_hanken_grotesk", "font_intuitive", "font_lato"),
    *("font_manrope", "font_source_sans_pro", "font_source_serif_pro"),
)
_HERSHEY = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)

Mask = NDArray[np.uint8]
# Draws text: a mask of 2 * DRAWN_SIZE rows, cut to the columns with ink. The baseline is at BASELINE.
Pen = Callable[[str], Mask]
TOP, BASELINE = DRAWN_SIZE // 3, DRAWN_SIZE * 4 // 3


def printed_pen(dice: random.Random) -> Pen:
    """Returns a typeface of a printer: half of them monospaced, a third dot-matrix."""
    pen = _any_pen(dice)
    if dice.random() < 0.5:
        pen = partial(_monospaced, pen=pen, pitch=dice.uniform(0.58, 0.72))
    return partial(_dot_matrix, pen=pen, dots=dice.randint(20, 32)) if dice.random() < 0.3 else pen


def sign_pen(dice: random.Random) -> Pen:
    """Returns a typeface of a sign: proportional, smooth, sometimes with wide gaps between letters."""
    pen = _any_pen(dice)
    return partial(_spaced, pen=pen, gap=dice.randint(2, 16)) if dice.random() < 0.2 else pen


def scaled(mask: Mask, size: float, stretch: float) -> Mask:
    """Returns a mask at a font size in pixels, with its width multiplied by ``stretch``."""
    scale = size / DRAWN_SIZE
    sides = (max(1, round(mask.shape[1] * scale * stretch)), max(1, round(mask.shape[0] * scale)))
    return np.asarray(cv2.resize(mask, sides, interpolation=cv2.INTER_AREA), np.uint8)


@cache
def font_files() -> tuple[Path, ...]:
    """Returns the font files, in a fixed order. Raises ModuleNotFoundError naming a missing package."""
    files = [Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf") for name in _MATPLOTLIB]
    for package in _PACKAGES:
        found = importlib.util.find_spec(package)
        if found is None or found.origin is None:
            raise ModuleNotFoundError(f"{package}: not installed; install the extra bench", name=package)
        names = sorted(path.name for path in Path(found.origin).parent.glob("files/*.[to]tf"))
        # A face is in some packages twice, as .ttf and .otf.
        faces = {name.split(".")[0]: name for name in names}
        files += [Path(found.origin).parent / "files" / name for name in faces.values()]
    return tuple(files)


def _any_pen(dice: random.Random) -> Pen:
    kind = dice.choices(("file", "pillow", "outlines", "strokes"), (6, 1, 1, 1))[0]
    if kind == "file":
        family = dice.choice(_families())
        return partial(_with_pillow, font=_font(str(dice.choice(family))), bold=dice.choice((0, 0, 0, 1)))
    if kind == "pillow":
        return partial(_with_pillow, font=_font(None), bold=dice.choice((0, 0, 1)))
    if kind == "outlines":
        outlines, weight = cv2.FontFace(dice.choice(("sans", "sans", "italic", "uni"))), dice.randint(250, 700)
        return partial(_with_outlines, face=outlines, weight=weight)
    return partial(_with_strokes, hershey=dice.choice(_HERSHEY), thickness=dice.randint(2, 6))


@cache
def _families() -> tuple[tuple[Path, ...], ...]:
    """Returns the font files by family, so that a family of many weights is not drawn more often."""
    families: dict[str, list[Path]] = {}
    for path in font_files():
        families.setdefault(path.stem.split("-")[0], []).append(path)
    return tuple(tuple(paths) for paths in families.values())


@cache
def _font(path: str | None) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(DRAWN_SIZE) if path is None else ImageFont.truetype(path, DRAWN_SIZE)


def _canvas(letters: int) -> Mask:
    return np.zeros((2 * DRAWN_SIZE, DRAWN_SIZE * (letters + 2)), np.uint8)


def _with_pillow(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, bold: int) -> Mask:
    image = Image.fromarray(_canvas(len(text)))
    ImageDraw.Draw(image).text((4, BASELINE), text, fill=255, font=font, stroke_width=bold, anchor="ls")
    return _trimmed(np.asarray(image))


def _with_outlines(text: str, face: cv2.FontFace, weight: int) -> Mask:
    canvas = _canvas(len(text))
    cv2.putText(canvas, text, (8, BASELINE), (255,), face, DRAWN_SIZE, weight)
    return _trimmed(canvas)


def _with_strokes(text: str, hershey: int, thickness: int) -> Mask:
    canvas = _canvas(len(text))
    cv2.putText(canvas, text, (8, BASELINE), hershey, DRAWN_SIZE / 30, (255,), thickness, cv2.LINE_AA)
    return _trimmed(canvas)


def _monospaced(text: str, pen: Pen, pitch: float) -> Mask:
    """Draws each letter in its own cell; letters that are too wide are narrowed."""
    cell = round(pitch * DRAWN_SIZE)
    row = np.zeros((2 * DRAWN_SIZE, cell * len(text)), np.uint8)
    for index, letter in enumerate(text):
        if letter == " ":
            continue
        mask = pen(letter)
        if mask.shape[1] > cell - 2:
            mask = np.asarray(cv2.resize(mask, (cell - 2, mask.shape[0]), interpolation=cv2.INTER_AREA), np.uint8)
        left = index * cell + (cell - mask.shape[1]) // 2
        row[:, left : left + mask.shape[1]] = mask
    return row


def _spaced(text: str, pen: Pen, gap: int) -> Mask:
    """Draws the letters one by one with a gap of this many pixels."""
    between = np.zeros((2 * DRAWN_SIZE, gap), np.uint8)
    space = np.zeros((2 * DRAWN_SIZE, DRAWN_SIZE // 3), np.uint8)
    return np.concatenate([part for letter in text for part in (space if letter == " " else pen(letter), between)], 1)


def _dot_matrix(text: str, pen: Pen, dots: int) -> Mask:
    """Draws full or empty dots, with a fixed number per letter height."""
    smooth = pen(text)
    scale = dots / DRAWN_SIZE
    sides = max(1, round(smooth.shape[1] * scale)), round(smooth.shape[0] * scale)
    coarse = cv2.resize(smooth, sides, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(np.where(coarse > 96, 255, 0).astype(np.uint8), smooth.shape[::-1]), np.uint8)


def _trimmed(canvas: Mask) -> Mask:
    """Returns the columns with ink; all rows are kept, so that letters share a baseline."""
    columns = np.flatnonzero(canvas.any(axis=0))
    return canvas[:, columns[0] : columns[-1] + 1] if len(columns) else canvas[:, :1]
