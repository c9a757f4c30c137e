"""Sizes, fonts, backgrounds and colours of the example pages, by layout."""

from collections.abc import Callable
from dataclasses import dataclass

import page_layouts
from page_layouts import Page
from page_sheet import Design, Palette, Sheet, lay_on_desk
from PIL import Image

LIGHT = (
    Palette(ground="#fdfbf5", fade="#efe8d6", ink="#2b2622", accent="#9c3d22"),
    Palette(ground="#f4f8fb", fade="#d9e7f1", ink="#1d2b38", accent="#1f5f8b"),
    Palette(ground="#f6faf2", fade="#dcebcf", ink="#23301c", accent="#3f7d2a"),
    Palette(ground="#fff6f4", fade="#fbdcd5", ink="#3a1f26", accent="#b02a4c"),
    Palette(ground="#fffdf0", fade="#faefb8", ink="#35300f", accent="#8a6a00"),
    Palette(ground="#f8f5fc", fade="#e4d9f2", ink="#2a2138", accent="#6a3fa0"),
    Palette(ground="#ffffff", fade="#e6e8eb", ink="#16181c", accent="#424a57"),
    Palette(ground="#f0faf8", fade="#c9ebe5", ink="#12312d", accent="#0f766e"),
    Palette(ground="#f7efe3", fade="#ead9bf", ink="#3b2a17", accent="#7a4a12"),
)
STRONG = (
    Palette(ground="#14213d", fade="#27407a", ink="#f3f5fa", accent="#fca311"),
    Palette(ground="#7a1420", fade="#a92432", ink="#fff3e4", accent="#ffd166"),
    Palette(ground="#0b4f3c", fade="#14795b", ink="#eefaf3", accent="#f6d860"),
    Palette(ground="#2d1b4e", fade="#573693", ink="#f6f0ff", accent="#7ee0d2"),
    Palette(ground="#ffd23f", fade="#ffb627", ink="#20180a", accent="#7c1d12"),
    Palette(ground="#1f2428", fade="#394249", ink="#f1f3f4", accent="#6fd38b"),
    Palette(ground="#0e6ba8", fade="#0a4d7c", ink="#f5fbff", accent="#ffe08a"),
    Palette(ground="#f26b3a", fade="#f78c52", ink="#2a0f05", accent="#fff4d6"),
    Palette(ground="#123c42", fade="#1e6470", ink="#ecfbfc", accent="#ff9f6e"),
)
DESKS = ("#8b6f52", "#5b6672", "#a9a39a", "#4c5d4b", "#7d5a5a")
ANGLES = (2.4, -1.8, 3.2, -2.9, 1.4)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A drawing function and the values that its pages use cyclically: sizes in pixels, fonts, backgrounds, colours."""

    draw: Callable[[Sheet, Page], None]
    sizes: tuple[tuple[int, int], ...]
    title_fonts: tuple[str, ...]
    body_fonts: tuple[str, ...]
    chinese_fonts: tuple[str, ...]
    grounds: tuple[str, ...] = ("plain", "fade", "grain")
    palettes: tuple[Palette, ...] = LIGHT
    on_desk: bool = False


LAYOUTS = {
    "sign": Layout(
        draw=page_layouts.sign,
        sizes=((380, 260), (340, 340), (560, 300), (360, 460)),
        title_fonts=("slab", "lato", "bebas", "dejavu sans"),
        body_fonts=("sans", "lato", "dejavu sans", "slab"),
        chinese_fonts=("hei", "micro", "song"),
        grounds=("plain", "fade", "glow"),
        palettes=STRONG,
    ),
    "menu": Layout(
        draw=page_layouts.menu,
        sizes=((440, 560), (480, 480), (400, 600)),
        title_fonts=("lobster", "garamond", "slab"),
        body_fonts=("lato", "serif", "quicksand"),
        chinese_fonts=("kai", "song", "hei"),
        palettes=(*LIGHT[::2], STRONG[0], STRONG[5]),
    ),
    "receipt": Layout(
        draw=page_layouts.receipt,
        sizes=((330, 500), (350, 460), (320, 540)),
        title_fonts=("mono", "dejavu mono", "inconsolata"),
        body_fonts=("mono", "inconsolata", "dejavu mono"),
        chinese_fonts=("hei", "micro"),
        grounds=("plain", "grain"),
        palettes=(LIGHT[6], LIGHT[0]),
        on_desk=True,
    ),
    "ticket": Layout(
        draw=page_layouts.ticket,
        sizes=((600, 270), (560, 280), (620, 260)),
        title_fonts=("slab", "dejavu serif", "lato"),
        body_fonts=("sans", "lato", "dejavu sans"),
        chinese_fonts=("micro", "hei", "kai"),
        on_desk=True,
    ),
    "poster": Layout(
        draw=page_layouts.poster,
        sizes=((420, 580), (460, 520), (400, 600), (500, 500)),
        title_fonts=("bebas", "slab", "lato"),
        body_fonts=("quicksand", "lato", "sans"),
        chinese_fonts=("song", "hei", "kai"),
        grounds=("fade", "glow"),
        palettes=STRONG,
    ),
    "notice": Layout(
        draw=page_layouts.notice,
        sizes=((480, 400), (420, 440), (540, 380)),
        title_fonts=("dejavu sans", "lato", "slab"),
        body_fonts=("dejavu sans", "serif", "lato"),
        chinese_fonts=("hei", "kai", "micro"),
        on_desk=True,
    ),
    "book": Layout(
        draw=page_layouts.book,
        sizes=((400, 520), (440, 500), (380, 540)),
        title_fonts=("garamond", "serif", "dejavu serif"),
        body_fonts=("serif", "garamond", "dejavu serif"),
        chinese_fonts=("song", "kai"),
        grounds=("grain", "fade"),
        palettes=(LIGHT[0], LIGHT[8], LIGHT[4]),
    ),
    "table": Layout(
        draw=page_layouts.table,
        sizes=((540, 380), (480, 420), (600, 360)),
        title_fonts=("lato", "sans", "serif"),
        body_fonts=("sans", "serif", "lato"),
        chinese_fonts=("micro", "song", "hei"),
        grounds=("plain", "squared", "fade"),
    ),
    "slide": Layout(
        draw=page_layouts.slide,
        sizes=((640, 360), (560, 420), (608, 342)),
        title_fonts=("lato", "quicksand", "dejavu serif"),
        body_fonts=("lato", "quicksand", "sans"),
        chinese_fonts=("hei", "micro", "song"),
        grounds=("fade", "plain", "dotted"),
        palettes=(LIGHT[1], STRONG[0], LIGHT[5], STRONG[8], LIGHT[7], STRONG[3], LIGHT[3], STRONG[5]),
    ),
    "label": Layout(
        draw=page_layouts.label,
        sizes=((420, 420), (480, 400), (400, 480)),
        title_fonts=("lobster", "garamond", "slab"),
        body_fonts=("serif", "lato", "quicksand"),
        chinese_fonts=("kai", "song", "hei"),
        palettes=(LIGHT[4], LIGHT[8], LIGHT[5], LIGHT[2], LIGHT[3], LIGHT[1], LIGHT[0]),
    ),
    "card": Layout(
        draw=page_layouts.card,
        sizes=((500, 290), (400, 250), (540, 310)),
        title_fonts=("garamond", "lato", "quicksand"),
        body_fonts=("lato", "sans", "serif"),
        chinese_fonts=("kai", "hei", "song"),
        palettes=(LIGHT[6], STRONG[5], LIGHT[7], LIGHT[3], STRONG[2], LIGHT[1]),
        on_desk=True,
    ),
    "chart": Layout(
        draw=page_layouts.chart,
        sizes=((520, 400), (480, 440), (560, 380)),
        title_fonts=("dejavu sans", "quicksand", "serif"),
        body_fonts=("dejavu sans", "lato", "sans"),
        chinese_fonts=("hei", "micro", "kai"),
        grounds=("ruled", "plain", "fade"),
    ),
    "news": Layout(
        draw=page_layouts.news,
        sizes=((600, 440), (560, 460), (620, 420)),
        title_fonts=("serif", "slab", "dejavu serif"),
        body_fonts=("serif", "dejavu serif", "garamond"),
        chinese_fonts=("song", "kai"),
        grounds=("grain",),
        palettes=(LIGHT[6], LIGHT[8], LIGHT[0]),
    ),
    "screen": Layout(
        draw=page_layouts.screen,
        sizes=((560, 340), (380, 520), (360, 480)),
        title_fonts=("inconsolata", "lato", "sans"),
        body_fonts=("dejavu mono", "lato", "quicksand"),
        chinese_fonts=("hei", "micro"),
        grounds=("plain",),
        palettes=(STRONG[5], LIGHT[7], STRONG[3], STRONG[6], LIGHT[6]),
    ),
    "diagram": Layout(
        draw=page_layouts.diagram,
        sizes=((440, 460), (360, 340), (420, 540)),
        title_fonts=("lato", "slab"),
        body_fonts=("lato", "dejavu sans"),
        chinese_fonts=("hei", "micro"),
        grounds=("dotted", "squared", "plain"),
        palettes=(LIGHT[1], LIGHT[3], LIGHT[2], LIGHT[5]),
    ),
}


def draw_page(number: int, page: Page) -> tuple[Image.Image, list[str]]:
    """Returns page ``number`` of the shards as an RGB image, and its lines of text in drawing order.

    Raises MissingFontError, and ValueError if a text does not fit at a readable size.
    """
    layout, turn = LAYOUTS[page["layout"]], page["occurrence"]
    design = Design(
        size=layout.sizes[turn % len(layout.sizes)],
        palette=layout.palettes[(turn + len(page["layout"])) % len(layout.palettes)],
        title_font=layout.title_fonts[turn % len(layout.title_fonts)],
        body_font=layout.body_fonts[turn % len(layout.body_fonts)],
        # English and Chinese pages alternate: every second page gets the next Chinese font.
        chinese_font=layout.chinese_fonts[turn // 2 % len(layout.chinese_fonts)],
        ground=layout.grounds[turn % len(layout.grounds)],
    )
    sheet = Sheet(design, seed=number)
    layout.draw(sheet, page)
    if layout.on_desk:
        image = lay_on_desk(sheet.image, ANGLES[number % len(ANGLES)], DESKS[number % len(DESKS)])
        return image, sheet.lines
    return sheet.image, sheet.lines
