"""Renders what `make demo` trains on and reads: examples/reading/train.tar, held-out.tar and word images.

    python benchmarks/reading/demo_pages.py examples/reading

Needed only to change them. The pages have words of words.txt; a page is in one of the two archives.
"""

import argparse
import io
import random
import tarfile
from itertools import accumulate
from pathlib import Path

from page_text import PageText
from render_pages import render_page, render_words

TRAINED_ON, HELD_OUT = range(60), range(1_000, 1_024)  # numbers of the pages
WORDS = {
    "harbour": 2_001,
    "museum": 2_002,
    "ticket": 2_003,
}  # images of single words, by the numbers of their typefaces
QUALITY = 40  # of WebP


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of words.txt")
    folder = parser.parse_args().folder
    words = (folder / "words.txt").read_text(encoding="utf-8").split()
    dice = random.Random(0)
    phrases = [f"{dice.choice(words).capitalize()} {dice.choice(words)}" for _ in range(1_000)]
    text = PageText(phrases, words, list(accumulate([1.0] * len(words))))
    for name, numbers in (("train", TRAINED_ON), ("held-out", HELD_OUT)):
        with tarfile.open(folder / f"{name}.tar", "w") as archive:
            for number in numbers:
                buffer = io.BytesIO()
                render_page(number, text).save(buffer, "WEBP", quality=QUALITY, method=6)
                member = tarfile.TarInfo(f"{number:05d}.webp")
                member.size = len(buffer.getvalue())
                buffer.seek(0)
                archive.addfile(member, buffer)
    for word, number in WORDS.items():
        render_words(number, word.capitalize()).save(folder / f"{word}.webp", quality=80, method=6)


if __name__ == "__main__":
    main()
