"""The layouts of the example pages: one function per layout, which draws a page's texts on a sheet."""

import math
from typing import Any

from page_sheet import Sheet

# A table of pages.toml: its texts, and `occurrence`, the number of earlier pages with the same layout.
Page = dict[str, Any]


def heading_band(sheet: Sheet, page: Page, height: float) -> None:
    """Draws the title in the background colour on a band of the accent colour across the top."""
    sheet.draw.rectangle((0, 0, sheet.width, height), fill=sheet.palette.accent)
    sheet.write(
        page["title"],
        (sheet.width / 2, height / 2),
        0.56 * height,
        color=sheet.palette.ground,
        align="m",
        width=0.88 * sheet.width,
        heading=True,
    )


def sign(sheet: Sheet, page: Page) -> None:
    w, h, accent = sheet.width, sheet.height, sheet.palette.accent
    sheet.draw.rounded_rectangle((10, 10, w - 11, h - 11), radius=22, outline=accent, width=6)
    sheet.write(
        page["title"], (w / 2, 0.33 * h), 0.3 * min(w, h), color=accent, align="m", width=0.84 * w, heading=True
    )
    sheet.draw.line((0.2 * w, 0.52 * h, 0.8 * w, 0.52 * h), fill=sheet.palette.ink, width=3)
    for row, line in enumerate(page["lines"]):
        sheet.write(line, (w / 2, (0.66 + 0.17 * row) * h), 0.11 * min(w, h), align="m", width=0.82 * w)


def menu(sheet: Sheet, page: Page) -> None:
    w, h, accent = sheet.width, sheet.height, sheet.palette.accent
    sheet.draw.rectangle((12, 12, w - 13, h - 13), outline=accent, width=2)
    sheet.draw.rectangle((17, 17, w - 18, h - 18), outline=accent, width=1)
    sheet.write(page["title"], (w / 2, 0.12 * h), 0.1 * h, color=accent, align="m", width=0.8 * w, heading=True)
    sheet.write(page["subtitle"], (w / 2, 0.22 * h), 0.048 * h, align="m", width=0.7 * w)
    sheet.draw.line((0.35 * w, 0.275 * h, 0.65 * w, 0.275 * h), fill=accent, width=2)
    step = 0.56 * h / len(page["rows"])
    size = sheet.fitting_size([dish for dish, _ in page["rows"]], min(0.5 * step, 0.062 * h), 0.58 * w)
    for row, (dish, price) in enumerate(page["rows"]):
        y = 0.31 * h + (row + 0.5) * step
        sheet.write(dish, (0.1 * w, y), size)
        sheet.write(price, (0.9 * w, y), size, color=accent, align="r")
    sheet.write(page["footer"], (w / 2, 0.915 * h), 0.042 * h, color=accent, align="m", width=0.8 * w)


def receipt(sheet: Sheet, page: Page) -> None:
    w, h, ink = sheet.width, sheet.height, sheet.palette.ink
    sheet.write(page["title"], (w / 2, 0.085 * h), 0.062 * h, align="m", width=0.88 * w, heading=True)
    sheet.write(page["subtitle"], (w / 2, 0.165 * h), 0.044 * h, align="m", width=0.88 * w)
    step = 0.5 * h / len(page["rows"])
    size = sheet.fitting_size([item for item, _ in page["rows"]], min(0.05 * h, 0.6 * step), 0.6 * w)
    for y in (0.22 * h, 0.75 * h, 0.86 * h):
        for x in range(round(0.06 * w), round(0.94 * w), 10):
            sheet.draw.line((x, y, x + 5, y), fill=ink)
    for row, (item, price) in enumerate(page["rows"]):
        y = 0.235 * h + (row + 0.5) * step
        sheet.write(item, (0.07 * w, y), size)
        sheet.write(price, (0.93 * w, y), size, align="r")
    label, amount = page["total"]
    sheet.write(label, (0.07 * w, 0.805 * h), 0.056 * h, width=0.5 * w, heading=True)
    sheet.write(amount, (0.93 * w, 0.805 * h), 0.056 * h, align="r", heading=True)
    sheet.write(page["footer"], (w / 2, 0.92 * h), 0.042 * h, align="m", width=0.88 * w)


def ticket(sheet: Sheet, page: Page) -> None:
    w, h, accent = sheet.width, sheet.height, sheet.palette.accent
    cut = 0.74 * w
    sheet.draw.rectangle((cut, 0, w, h), fill=accent)
    for notch in range(6, h, 14):
        sheet.draw.ellipse((cut - 4, notch - 4, cut + 4, notch + 4), fill=sheet.palette.ground)
    sheet.write(page["title"], (0.05 * w, 0.17 * h), 0.17 * h, color=accent, width=0.64 * w, heading=True)
    sheet.draw.line((0.05 * w, 0.32 * h, 0.68 * w, 0.32 * h), fill=accent, width=2)
    for cell, (label, value) in enumerate(page["rows"]):
        x, y = (0.05 + 0.35 * (cell % 2)) * w, (0.42 + 0.3 * (cell // 2)) * h
        sheet.write(label, (x, y), 0.075 * h, color=accent, width=0.3 * w)
        sheet.write(value, (x, y + 0.125 * h), 0.115 * h, width=0.3 * w)
    for row, text in enumerate(page["stub"]):
        at = ((cut + w) / 2, (0.36 + 0.28 * row) * h)
        sheet.write(text, at, 0.16 * h, color=sheet.palette.ground, align="m", width=0.8 * (w - cut), heading=True)


def poster(sheet: Sheet, page: Page) -> None:
    w, h, accent = sheet.width, sheet.height, sheet.palette.accent
    emblem(sheet, page["occurrence"] % 3, (w / 2, 0.2 * h), 0.15 * min(w, h))
    sheet.write(page["title"], (w / 2, 0.465 * h), 0.15 * h, color=accent, align="m", width=0.88 * w, heading=True)
    sheet.write(page["subtitle"], (w / 2, 0.605 * h), 0.06 * h, align="m", width=0.86 * w)
    sheet.draw.rectangle((0.42 * w, 0.665 * h, 0.58 * w, 0.675 * h), fill=accent)
    for row, line in enumerate(page["lines"]):
        sheet.write(line, (w / 2, (0.745 + 0.085 * row) * h), 0.052 * h, align="m", width=0.84 * w)


def emblem(sheet: Sheet, kind: int, center: tuple[float, float], radius: float) -> None:
    """Draws a shape without words: rings, a sun with rays, or peaks under a moon."""
    x, y = center
    color, width = sheet.palette.accent, max(3, round(0.09 * radius))
    if kind == 0:
        for ring in (radius, 0.74 * radius, 0.48 * radius):
            sheet.draw.ellipse((x - ring, y - ring, x + ring, y + ring), outline=color, width=width)
    elif kind == 1:
        sheet.draw.regular_polygon((x, y, 0.5 * radius), 12, fill=color)
        for ray in range(12):
            dx, dy = math.cos(ray * math.pi / 6), math.sin(ray * math.pi / 6)
            near, far = 0.66 * radius, (1.0 if ray % 2 else 0.86) * radius
            sheet.draw.line((x + near * dx, y + near * dy, x + far * dx, y + far * dy), fill=color, width=width)
    else:
        for peak, height in ((-0.55, 0.9), (0.45, 1.35)):
            foot = x + peak * radius
            top = (foot, y + (0.8 - height) * radius)
            sheet.draw.polygon(
                ((foot - 0.8 * radius, y + 0.8 * radius), top, (foot + 0.8 * radius, y + 0.8 * radius)), fill=color
            )
        moon = (x - 0.7 * radius, y - 0.7 * radius, x - 0.3 * radius, y - 0.3 * radius)
        sheet.draw.ellipse(moon, outline=color, width=width)


def notice(sheet: Sheet, page: Page) -> None:
    w, h, accent = sheet.width, sheet.height, sheet.palette.accent
    heading_band(sheet, page, 0.2 * h)
    size = sheet.fitting_size(page["lines"], 0.075 * h, 0.8 * w)
    for row, line in enumerate(page["lines"]):
        y = (0.31 + 0.145 * row) * h
        sheet.draw.ellipse((0.055 * w, y - 5, 0.055 * w + 10, y + 5), fill=accent)
        sheet.write(line, (0.115 * w, y), size)
    sheet.draw.line((0.06 * w, 0.84 * h, 0.94 * w, 0.84 * h), fill=accent, width=2)
    sheet.write(page["footer"], (0.94 * w, 0.915 * h), 0.06 * h, color=accent, align="r", width=0.86 * w)


def book(sheet: Sheet, page: Page) -> None:
    w, h = sheet.width, sheet.height
    sheet.write(page["title"], (w / 2, 0.12 * h), 0.075 * h, align="m", width=0.82 * w, heading=True)
    sheet.draw.line((0.4 * w, 0.19 * h, 0.6 * w, 0.19 * h), fill=sheet.palette.accent, width=2)
    paragraph(sheet, page["text"], (0.1 * w, 0.25 * h, 0.9 * w, 0.88 * h), 0.062 * h)
    sheet.write(page["footer"], (w / 2, 0.94 * h), 0.045 * h, color=sheet.palette.accent, align="m")


def paragraph(sheet: Sheet, text: str, box: tuple[float, float, float, float], size: float) -> None:
    """Draws a paragraph in the box, as large as fits, at most ``size``. Raises ValueError if that is too small."""
    left, top, right, bottom = box
    best = int(size)
    while (lines := sheet.wrap(text, best, right - left)) and 1.5 * best * len(lines) > bottom - top:
        best -= 1
    for row, line in enumerate(lines):
        sheet.write(line, (left, top + (1.5 * row + 0.75) * best), best, width=1.06 * (right - left))


def table(sheet: Sheet, page: Page) -> None:
    w, h, accent = sheet.width, sheet.height, sheet.palette.accent
    sheet.write(page["title"], (w / 2, 0.11 * h), 0.1 * h, color=accent, align="m", heading=True)
    rows = page["rows"]
    left, top, right, bottom = 0.05 * w, 0.21 * h, 0.95 * w, 0.95 * h
    row_height, column_width = (bottom - top) / len(rows), (right - left) / len(rows[0])
    sheet.draw.rectangle((left, top, right, top + row_height), fill=accent)
    for row in range(len(rows) + 1):
        y = top + row * row_height
        sheet.draw.line((left, y, right, y), fill=accent, width=2)
    for column in range(len(rows[0]) + 1):
        x = left + column * column_width
        sheet.draw.line((x, top, x, bottom), fill=accent, width=1)
    size = sheet.fitting_size([cell for row in rows for cell in row], 0.42 * row_height, 0.86 * column_width)
    for row, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            at = (left + (column + 0.5) * column_width, top + (row + 0.5) * row_height)
            sheet.write(cell, at, size, color=None if row else sheet.palette.ground, align="m")


def slide(sheet: Sheet, page: Page) -> None:
    w, h, accent = sheet.width, sheet.height, sheet.palette.accent
    sheet.draw.rectangle((0, 0, 0.03 * w, h), fill=accent)
    sheet.write(page["title"], (0.08 * w, 0.16 * h), 0.125 * h, color=accent, width=0.86 * w, heading=True)
    size = sheet.fitting_size(page["lines"], 0.082 * h, 0.76 * w)
    for row, line in enumerate(page["lines"]):
        y = (0.35 + 0.135 * row) * h
        sheet.draw.polygon(((0.085 * w, y - 6), (0.085 * w + 10, y), (0.085 * w, y + 6)), fill=accent)
        sheet.write(line, (0.13 * w, y), size)
    sheet.write(page["footer"], (0.95 * w, 0.92 * h), 0.058 * h, color=accent, align="r")


def label(sheet: Sheet, page: Page) -> None:
    w, h, accent = sheet.width, sheet.height, sheet.palette.accent
    sheet.draw.rounded_rectangle((14, 14, w - 15, h - 15), radius=40, outline=accent, width=4)
    sheet.draw.rectangle((14, 0.19 * h, w - 15, 0.45 * h), fill=accent)
    ground = sheet.palette.ground
    sheet.write(page["subtitle"], (w / 2, 0.12 * h), 0.062 * h, color=accent, align="m", width=0.76 * w)
    sheet.write(page["title"], (w / 2, 0.32 * h), 0.15 * h, color=ground, align="m", width=0.82 * w, heading=True)
    size = sheet.fitting_size(page["lines"], 0.064 * h, 0.84 * w)
    for row, line in enumerate(page["lines"]):
        sheet.write(line, (w / 2, (0.535 + 0.11 * row) * h), size, align="m")
    sheet.write(page["footer"], (w / 2, 0.89 * h), 0.054 * h, color=accent, align="m", width=0.8 * w)


def card(sheet: Sheet, page: Page) -> None:
    w, h, accent = sheet.width, sheet.height, sheet.palette.accent
    sheet.draw.polygon(((w, 0), (w, 0.62 * h), (0.72 * w, 0)), fill=accent)
    sheet.write(page["title"], (0.08 * w, 0.2 * h), 0.15 * h, width=0.66 * w, heading=True)
    sheet.write(page["subtitle"], (0.08 * w, 0.37 * h), 0.085 * h, color=accent, width=0.7 * w)
    sheet.draw.line((0.08 * w, 0.48 * h, 0.3 * w, 0.48 * h), fill=accent, width=3)
    for row, line in enumerate(page["lines"]):
        sheet.write(line, (0.08 * w, (0.6 + 0.135 * row) * h), 0.08 * h, width=0.84 * w)


def chart(sheet: Sheet, page: Page) -> None:
    w, h, accent = sheet.width, sheet.height, sheet.palette.accent
    sheet.write(page["title"], (w / 2, 0.1 * h), 0.095 * h, align="m", heading=True)
    base, ceiling, slot = 0.77 * h, 0.28 * h, 0.88 * w / len(page["rows"])
    tallest = max(int(value) for _, value in page["rows"])
    size = sheet.fitting_size([name for name, _ in page["rows"]], 0.07 * h, 0.9 * slot)
    for bar, (name, value) in enumerate(page["rows"]):
        middle = 0.06 * w + (bar + 0.5) * slot
        top = base - (base - ceiling) * int(value) / tallest
        sheet.draw.rectangle((middle - 0.27 * slot, top, middle + 0.27 * slot, base), fill=accent)
        sheet.write(value, (middle, top - 0.05 * h), 0.065 * h, align="m")
        sheet.write(name, (middle, base + 0.06 * h), size, align="m")
    sheet.draw.line((0.04 * w, base, 0.96 * w, base), fill=sheet.palette.ink, width=2)
    sheet.write(page["footer"], (0.05 * w, 0.935 * h), 0.055 * h, color=accent)


def news(sheet: Sheet, page: Page) -> None:
    w, h, ink = sheet.width, sheet.height, sheet.palette.ink
    sheet.draw.line((0.04 * w, 0.05 * h, 0.96 * w, 0.05 * h), fill=ink, width=4)
    sheet.write(page["title"], (0.04 * w, 0.16 * h), 0.15 * h, width=0.92 * w, heading=True)
    sheet.write(page["subtitle"], (0.04 * w, 0.3 * h), 0.07 * h, color=sheet.palette.accent)
    sheet.draw.line((0.04 * w, 0.37 * h, 0.96 * w, 0.37 * h), fill=ink, width=1)
    left, right, sky = 0.64 * w, 0.96 * w, sheet.palette.fade
    sheet.draw.rectangle((left, 0.43 * h, right, 0.93 * h), fill=sky, outline=ink)
    hills = ((left, 0.93 * h), (0.74 * w, 0.63 * h), (0.81 * w, 0.78 * h), (0.88 * w, 0.68 * h), (right, 0.93 * h))
    sheet.draw.polygon(hills, fill=sheet.palette.accent)
    paragraph(sheet, page["text"], (0.04 * w, 0.4 * h, 0.6 * w, 0.96 * h), 0.06 * h)


def screen(sheet: Sheet, page: Page) -> None:
    w, h, accent = sheet.width, sheet.height, sheet.palette.accent
    bar = 0.14 * h
    sheet.draw.rectangle((0, 0, w, bar), fill=sheet.palette.fade)
    for button, color in enumerate(("#ff5f57", "#febc2e", "#28c840")):
        x = 18 + 22 * button
        sheet.draw.ellipse((x - 7, bar / 2 - 7, x + 7, bar / 2 + 7), fill=color)
    sheet.write(page["title"], (w / 2, bar / 2), 0.075 * h, align="m", width=0.5 * w)
    step = 0.78 * h / len(page["lines"])
    size = sheet.fitting_size(page["lines"], 0.46 * step, 0.8 * w)
    for row, line in enumerate(page["lines"]):
        y = 0.18 * h + (row + 0.5) * step
        sheet.draw.rectangle((0.05 * w, y - 0.3 * step, 0.05 * w + 5, y + 0.3 * step), fill=accent)
        sheet.write(line, (0.1 * w, y), size)


def diagram(sheet: Sheet, page: Page) -> None:
    w, h, accent = sheet.width, sheet.height, sheet.palette.accent
    sheet.write(page["title"], (w / 2, 0.09 * h), 0.085 * h, align="m", heading=True)
    step = 0.8 * h / len(page["lines"])
    size = sheet.fitting_size(page["lines"], 0.36 * step, 0.5 * w)
    for row, line in enumerate(page["lines"]):
        middle, y = (0.36 + 0.28 * (row % 2)) * w, 0.19 * h + (row + 0.4) * step
        if row:
            sheet.draw.line((w / 2, y - 0.69 * step, w / 2, y - 0.31 * step), fill=sheet.palette.ink, width=3)
        box = (middle - 0.3 * w, y - 0.31 * step, middle + 0.3 * w, y + 0.31 * step)
        sheet.draw.rounded_rectangle(box, radius=12, fill=accent)
        sheet.write(line, (middle, y), size, color=sheet.palette.ground, align="m")
