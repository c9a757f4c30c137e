"""A sheet of paper for an example page: fonts, colours, backgrounds, and the true text of everything written."""

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

# The smallest letters, in pixels; OCR makes errors below this size.
MIN_LATIN_SIZE = 15
MIN_CHINESE_SIZE = 18
FONT_FOLDERS = (
    Path("/usr/share/fonts"),
    Path("/usr/local/share/fonts"),
    Path.home() / ".fonts",
    Path.home() / ".local/share/fonts",
)


class MissingFontError(Exception):
    """A font file is missing from the font folders."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A typeface: its files, their Debian package, and the face of a collection."""

    package: str
    regular: str
    bold: str
    face: int = 0


FAMILIES = {
    "dejavu sans": Family(package="fonts-dejavu-core", regular="DejaVuSans.ttf", bold="DejaVuSans-Bold.ttf"),
    "dejavu serif": Family(package="fonts-dejavu-core", regular="DejaVuSerif.ttf", bold="DejaVuSerif-Bold.ttf"),
    "dejavu mono": Family(package="fonts-dejavu-core", regular="DejaVuSansMono.ttf", bold="DejaVuSansMono-Bold.ttf"),
    "sans": Family(package="fonts-liberation2", regular="LiberationSans-Regular.ttf", bold="LiberationSans-Bold.ttf"),
    "serif": Family(
        package="fonts-liberation2", regular="LiberationSerif-Regular.ttf", bold="LiberationSerif-Bold.ttf"
    ),
    "mono": Family(package="fonts-liberation2", regular="LiberationMono-Regular.ttf", bold="LiberationMono-Bold.ttf"),
    "lato": Family(package="fonts-lato", regular="Lato-Medium.ttf", bold="Lato-Black.ttf"),
    "garamond": Family(package="fonts-ebgaramond", regular="EBGaramond12-Regular.otf", bold="EBGaramond12-Bold.otf"),
    "slab": Family(package="fonts-roboto-slab", regular="RobotoSlab-Regular.otf", bold="RobotoSlab-Bold.otf"),
    "bebas": Family(package="fonts-bebas-neue", regular="BebasNeue-Regular.otf", bold="BebasNeue-Bold.otf"),
    "lobster": Family(package="fonts-lobstertwo", regular="LobsterTwo-Regular.otf", bold="LobsterTwo-Bold.otf"),
    "inconsolata": Family(package="fonts-inconsolata", regular="Inconsolata.otf", bold="Inconsolata.otf"),
    "quicksand": Family(package="fonts-quicksand", regular="Quicksand-Medium.ttf", bold="Quicksand-Bold.ttf"),
    # Face 2 of the Noto collections has the glyphs of mainland China.
    "hei": Family(package="fonts-noto-cjk", regular="NotoSansCJK-Regular.ttc", bold="NotoSansCJK-Bold.ttc", face=2),
    "song": Family(package="fonts-noto-cjk", regular="NotoSerifCJK-Regular.ttc", bold="NotoSerifCJK-Bold.ttc", face=2),
    "kai": Family(package="fonts-lxgw-wenkai", regular="LXGWWenKai-Regular.ttf", bold="LXGWWenKai-Bold.ttf"),
    "micro": Family(package="fonts-wqy-microhei", regular="wqy-microhei.ttc", bold="wqy-microhei.ttc"),
}


@dataclass(frozen=True, kw_only=True)
class Palette:
    """Colours of a page: the background and the colour it fades to, the text, and headings, bands and lines."""

    ground: str
    fade: str
    ink: str
    accent: str


@dataclass(frozen=True, kw_only=True)
class Design:
    """The look of a page: size in pixels, colours, fonts (names in FAMILIES) and background pattern."""

    size: tuple[int, int]
    palette: Palette
    title_font: str
    body_font: str
    chinese_font: str
    ground: str


@lru_cache
def font_files() -> dict[str, Path]:
    """Returns the path of every font file on this machine by its name."""
    found = {}
    for top in FONT_FOLDERS:
        for folder, _, names in os.walk(top):
            found.update({name: Path(folder, name) for name in names})
    return found


@lru_cache
def font(family_name: str, size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """Returns the typeface at ``size`` pixels. Raises MissingFontError, naming all packages that the pages need."""
    family = FAMILIES[family_name]
    name = family.bold if bold else family.regular
    path = font_files().get(name)
    if path is None:
        packages = " ".join(sorted({family.package for family in FAMILIES.values()}))
        raise MissingFontError(f"font file {name} not found; on Debian: apt-get install {packages}")
    # The basic layout engine: the other one is not in every Pillow and positions letters differently.
    return ImageFont.truetype(str(path), size, index=family.face, layout_engine=ImageFont.Layout.BASIC)


def is_chinese(text: str) -> bool:
    """Returns True if the text needs a Chinese font."""
    return any(character >= "\u2e80" for character in text)


class Sheet:
    """A page being drawn. ``lines`` collects the written texts in order: the page's true text."""

    def __init__(self, design: Design, seed: int) -> None:
        self.design = design
        self.palette = design.palette
        self.width, self.height = design.size
        self.image = paint_ground(design, random.Random(seed))
        self.draw = ImageDraw.Draw(self.image)
        self.lines: list[str] = []

    def font_for(self, text: str, size: int, heading: bool) -> ImageFont.FreeTypeFont:
        """Returns the page's font for this text: Chinese text has its own font, headings are bold."""
        latin = self.design.title_font if heading else self.design.body_font
        return font(self.design.chinese_font if is_chinese(text) else latin, size, heading)

    def fitting_size(self, texts: Sequence[str], size: float, width: float, heading: bool = False) -> int:
        """Returns the largest font size up to ``size`` at which each text is at most ``width`` pixels long.

        Raises ValueError if that is too small to read.
        """
        best = int(size)
        for text in texts:
            smallest = MIN_CHINESE_SIZE if is_chinese(text) else MIN_LATIN_SIZE
            while best >= smallest and self.font_for(text, best, heading).getlength(text) > width:
                best -= 1
            if best < smallest:
                raise ValueError(f"{text!r} does not fit: {width:.0f} pixels wide at size {smallest}")
        return best

    def write(
        self,
        text: str,
        at: tuple[float, float],
        size: float,
        *,
        color: str | None = None,
        align: str = "l",
        width: float | None = None,
        heading: bool = False,
    ) -> None:
        """Writes one line, centred on the height ``at[1]``, with its left end, middle or right end at ``at[0]``
        (``align``: l, m or r).

        Raises ValueError if it does not fit into ``width`` (the whole sheet if None).
        """
        fitting = self.fitting_size([text], size, width or 0.92 * self.width, heading)
        self.draw.text(
            (round(at[0]), round(at[1])),
            text,
            fill=color or self.palette.ink,
            font=self.font_for(text, fitting, heading),
            anchor=f"{align}m",
        )
        self.lines.append(text)

    def wrap(self, text: str, size: int, width: float) -> list[str]:
        """Breaks a paragraph into lines at most ``width`` pixels long: at spaces, in Chinese between characters."""
        chinese = is_chinese(text)
        glue = "" if chinese else " "
        used = self.font_for(text, size, False)
        lines: list[str] = []
        for piece in list(text) if chinese else text.split():
            longer = lines[-1] + glue + piece if lines else piece
            # A line never starts with punctuation.
            if lines and (used.getlength(longer) <= width or piece in "，。、：；"):
                lines[-1] = longer
            else:
                lines.append(piece)
        return lines


def paint_ground(design: Design, rng: random.Random) -> Image.Image:
    """Returns a sheet in the page's colours: plain, fading, with paper grain, ruled, squared or dotted."""
    width, height = design.size
    image = Image.new("RGB", design.size, design.palette.ground)
    shade = Image.new("RGB", design.size, design.palette.fade)
    if design.ground == "fade":
        return Image.composite(shade, image, Image.linear_gradient("L").resize(design.size))
    if design.ground == "glow":
        return Image.composite(shade, image, Image.radial_gradient("L").resize(design.size))
    if design.ground == "grain":
        grain = Image.frombytes("L", (48, 48), rng.randbytes(48 * 48)).filter(ImageFilter.GaussianBlur(1))
        return Image.composite(shade, image, grain.resize(design.size, Image.Resampling.BICUBIC))
    draw = ImageDraw.Draw(image)
    step = max(design.size) // 20
    if design.ground in ("ruled", "squared"):
        for y in range(step, height, step):
            draw.line((0, y, width, y), fill=design.palette.fade)
    if design.ground == "squared":
        for x in range(step, width, step):
            draw.line((x, 0, x, height), fill=design.palette.fade)
    if design.ground == "dotted":
        for y in range(step // 2, height, step):
            for x in range(step // 2, width, step):
                draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=design.palette.fade)
    return image


def lay_on_desk(page: Image.Image, angle: float, desk: str) -> Image.Image:
    """Returns the page as a photograph from above: rotated by ``angle`` degrees on a desk, with a soft shadow."""
    margin = max(page.size) // 24
    desk_size = (page.width + 2 * margin, page.height + 2 * margin)
    mask = Image.new("L", desk_size, 0)
    mask.paste(255, (margin, margin, margin + page.width, margin + page.height))
    mask = mask.rotate(angle, Image.Resampling.BICUBIC)
    placed = Image.new("RGB", desk_size, desk)
    shadow = Image.new("L", desk_size, 0)
    shadow.paste(mask.point(lambda value: value // 2), (4, 5))
    placed.paste("#000000", (0, 0), shadow.filter(ImageFilter.GaussianBlur(5)))
    sheet = Image.new("RGB", desk_size, page.getpixel((1, 1)))
    sheet.paste(page, (margin, margin))
    placed.paste(sheet.rotate(angle, Image.Resampling.BICUBIC), (0, 0), mask)
    return placed
