"""Renders the example pages and packs them with their true text into the two shards of examples/shards.

    python examples/make_pages.py --out examples/shards [--check] [--contact-sheet FILE.png]

The texts are in pages.toml, the layouts in page_layouts.py, their sizes, fonts and colours in page_designs.py. The same
fonts and the same Pillow version give the same bytes. The shards are committed; the fonts are needed only to change the
pages.
"""

import argparse
import io
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from page_designs import draw_page
from page_sheet import MissingFontError
from PIL import Image

from ovocr.base.files import written_aside

PAGES_FILE = Path(__file__).with_name("pages.toml")
PAGES_PER_SHARD = 50
# Most pages are JPEG, as on the web; a few are not, so that readers of the shards handle several formats.
PNG_PAGES = frozenset({7, 26, 45, 58})
WEBP_PAGES = frozenset({40})
THUMBNAIL = (216, 200)
CONTACT_COLUMNS = 10
PRIOR_SIZE = 10


def load_pages() -> list[dict[str, Any]]:
    """Returns the pages in shard order, cycling through the layouts, each with its number within its layout."""
    seen: Counter[str] = Counter()
    pages = tomllib.loads(PAGES_FILE.read_text(encoding="utf-8"))["page"]
    for page in pages:
        page["occurrence"] = seen[page["layout"]]
        seen[page["layout"]] += 1
    return sorted(pages, key=lambda page: page["occurrence"])  # stable sort: keeps the file's order within a cycle


def encode(number: int, image: Image.Image) -> tuple[str, bytes]:
    """Returns the file extension and encoded bytes of page ``number``."""
    buffer = io.BytesIO()
    if number in PNG_PAGES:
        image.save(buffer, "PNG", optimize=True)
        return "png", buffer.getvalue()
    if number in WEBP_PAGES:
        image.save(buffer, "WEBP", quality=80)
        return "webp", buffer.getvalue()
    image.save(buffer, "JPEG", quality=(60, 68, 76)[number % 3], optimize=True)
    return "jpg", buffer.getvalue()


def add_member(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Adds a file without metadata about the time and machine."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = 0o644
    archive.addfile(member, io.BytesIO(content))


def write_shards(folder: Path, pages: list[dict[str, Any]]) -> list[Path]:
    """Renders all pages and writes pages-NNNNN.tar with members NNNNN.jpg (or .png, .webp) and NNNNN.txt."""
    paths = []
    for shard, start in enumerate(range(0, len(pages), PAGES_PER_SHARD)):
        path = folder / f"pages-{shard:05d}.tar"
        with written_aside(path) as partial, tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as archive:
            for number in range(start, min(start + PAGES_PER_SHARD, len(pages))):
                image, lines = draw_page(number, pages[number])
                ending, content = encode(number, image)
                add_member(archive, f"{number:05d}.{ending}", content)
                add_member(archive, f"{number:05d}.txt", ("\n".join(lines) + "\n").encode())
        paths.append(path)
    return paths


def read_shards(paths: list[Path]) -> Iterator[tuple[str, bytes, list[str]]]:
    """Yields the name of each image, its encoded bytes, and the lines of its true text."""
    for path in paths:
        with tarfile.open(path) as archive:
            files = ((member.name, archive.extractfile(member)) for member in archive)
            contents = {name: file.read() for name, file in files if file is not None}
        for name, content in contents.items():
            if not name.endswith(".txt"):
                yield name, content, contents[name.partition(".")[0] + ".txt"].decode().splitlines()


def prior_recall(tags: list[set[str]]) -> float:
    """Returns recall@10 of always answering the 10 most common words: mean of |answer ∩ tags| / min(10, tags)."""
    counts = Counter(tag for page in tags for tag in page)
    # Ties are broken alphabetically, so that the figure does not depend on set order.
    answer = {word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:PRIOR_SIZE]}
    return sum(len(answer & page) / min(PRIOR_SIZE, len(page)) for page in tags) / len(tags)


def check(paths: list[Path]) -> None:
    """Prints how well the OCR engine reads the pages, which words it misses, and the recall@10 of the prior."""
    from rapidocr import RapidOCR

    from ovocr.vocab import Vocabulary, segment_lines

    engine = RapidOCR(
        params={
            "Global.use_cls": False,
            "Global.log_level": "error",
            "Det.limit_type": "max",
            "Det.limit_side_len": 960,
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        }
    )
    vocabulary = Vocabulary.load("lexicon")
    true_words, words_read, words_found, tags = 0, 0, 0, []
    for name, content, lines in read_shards(paths):
        truth = Counter(segment_lines(lines))
        read = Counter(segment_lines(list(engine(content).txts or ())))
        true_words, words_read = true_words + truth.total(), words_read + read.total()
        words_found += (truth & read).total()
        tags.append({word for word in truth if vocabulary.id(word) is not None})
        if truth - read:
            print(f"{name}: missed {' '.join(truth - read)} | read instead {' '.join(read - truth)}")
    print(f"words {true_words}, read {words_read}, found {words_found}")
    print(f"recall {words_found / true_words:.4f}, precision {words_found / words_read:.4f}")
    print(f"tags an image: fewest {min(map(len, tags))}, mean {sum(map(len, tags)) / len(tags):.1f}")
    print(f"prior recall@{PRIOR_SIZE} {prior_recall(tags):.4f}")


def write_contact_sheet(path: Path, shards: list[Path]) -> None:
    """Writes one image with thumbnails of all pages."""
    images = [Image.open(io.BytesIO(content)) for _, content, _ in read_shards(shards)]
    width, height = THUMBNAIL[0] + 8, THUMBNAIL[1] + 8
    rows = -(-len(images) // CONTACT_COLUMNS)
    sheet = Image.new("RGB", (CONTACT_COLUMNS * width, rows * height), "#3b3f46")
    for position, image in enumerate(images):
        small = image.convert("RGB")
        small.thumbnail(THUMBNAIL, Image.Resampling.LANCZOS)
        row, column = divmod(position, CONTACT_COLUMNS)
        corner = (column * width + (width - small.width) // 2, row * height + (height - small.height) // 2)
        sheet.paste(small, corner)
    sheet.save(path)


def main() -> int:
    parser = argparse.ArgumentParser(description="Draw the example pages and pack them into shards.")
    parser.add_argument("--out", type=Path, required=True, help="folder for pages-00000.tar and so on")
    parser.add_argument("--check", action="store_true", help="read the pages with the OCR engine, print word recall")
    parser.add_argument(
        "--contact-sheet", type=Path, metavar="FILE", help="also write thumbnails of all pages to one image"
    )
    options = parser.parse_args()
    try:
        shards = write_shards(options.out, load_pages())
    except MissingFontError as error:
        print(f"make_pages: {error}", file=sys.stderr)
        return 1
    print(f"{len(shards)} shards, {sum(path.stat().st_size for path in shards):,} bytes")
    if options.contact_sheet:
        write_contact_sheet(options.contact_sheet, shards)
    if options.check:
        check(shards)
    return 0


if __name__ == "__main__":
    sys.exit(main())
