"""The data of the learning experiment: receipts split by shop, rendered pages, labels by OCR, blocks of lines.

FOLDER/pages/*.tar        rendered pages; the last shard is held out
FOLDER/receipts/*         links to the images of each half
FOLDER/labels/*           their data sets, made by `ovocr build-labels`
FOLDER/words.txt          the words that OCR read in the training data, except the rarest
FOLDER/blocks/*           the same as blocks of four lines, for training and evaluation
FOLDER/lexicon-blocks/*   the same blocks with the class ids of the lexicon
"""

import io
import json
import random
import re
import subprocess
import sys
import tarfile
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from line_blocks import cut_blocks
from render_pages import Phrases, render_page

from ovocr.base.files import written_aside
from ovocr.vocab import Vocabulary, segment_lines

PAGES_IN_SHARD = 250
LONGEST_PHRASE = 24  # characters
LEAST_COUNT = 4  # minimum count in the training data of a word of the vocabulary
BLOCKS_PER_LINE = 6  # number of blocks with the same training line
TRAINED_ON, HELD_OUT = ("pages", "receipts"), ("held-out-receipts", "held-out-pages")


def make_data(folder: Path, receipts: Path, shards: int) -> dict[str, Any]:
    """Creates what is missing and returns counts and the split, for the report.

    receipts: a folder of NNN.jpg with their text in NNN.txt. shards: number of shards of PAGES_IN_SHARD pages.
    """
    halves = dict(zip(("receipts", "held-out-receipts"), split_by_shop(receipts), strict=True))
    text = page_text(receipts, halves["receipts"])
    tars = [folder / "pages" / f"{shard:05d}.tar" for shard in range(shards)]
    tars[0].parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        list(pool.map(partial(write_shard, text=text), [tar for tar in tars if not tar.exists()]))
    for half, names in halves.items():
        (folder / "receipts" / half).mkdir(parents=True, exist_ok=True)
        for name in names:
            link = folder / "receipts" / half / f"{name}.jpg"
            if not link.exists():
                link.symlink_to((receipts / link.name).resolve())
    inputs = {
        "pages": [str(tar.relative_to(folder)) for tar in tars[:-1]],
        "held-out-pages": [str(tars[-1].relative_to(folder))],
        **{half: [f"receipts/{half}"] for half in halves},
    }
    report: dict[str, Any] = {
        "split": halves,
        "phrases of the pages": len(text.phrases),
        "words of the pages": len(text.words),
    }
    for name, shown in inputs.items():
        ovocr(folder, "build-labels", *shown, "--out", f"labels/{name}")
    words = folder / "words.txt"
    if not words.exists():
        every = [f"labels/{name}" for name in TRAINED_ON]
        ovocr(folder, "vocab", "build", *every, "--min-count", str(LEAST_COUNT), "--out", words.name)
    read, lexicon = Vocabulary.load(words), Vocabulary.load("lexicon")
    report["vocabulary"] = len(read)
    report["words that the lexicon has"] = sum(read.word(number) in lexicon for number in range(len(read)))
    for blocks, classes in (("blocks", read), ("lexicon-blocks", lexicon)):
        for name in inputs:
            counts = folder / blocks / f"{name}.json"
            if not counts.exists():
                shuffled = BLOCKS_PER_LINE if name in TRAINED_ON else 0
                cut = cut_blocks(
                    folder / "labels" / name, counts.with_suffix(""), read, classes=classes, shuffled=shuffled
                )
                counts.write_text(json.dumps(cut) + "\n")
            report[f"{blocks}/{name}"] = json.loads(counts.read_text())
    return report


def ovocr(folder: Path, *arguments: str) -> None:
    """Runs the command in a folder, to which the paths in its files then refer."""
    subprocess.run([sys.executable, "-m", "ovocr", *arguments], cwd=folder, check=True)


def split_by_shop(receipts: Path) -> tuple[list[str], list[str]]:
    """Returns the names of the training receipts and of the held-out ones: every second shop, so no shop is in both.

    A shop is the first line of its receipts' text.
    """
    shops: dict[str, list[str]] = defaultdict(list)
    for text in sorted(receipts.glob("*.txt")):
        shops[text.read_text(encoding="utf-8").splitlines()[0]].append(text.stem)
    if not shops:
        sys.exit(f"{receipts}: no receipts (NNN.jpg with their text in NNN.txt)")
    every = list(shops.values())
    trained_on, held_out = ([name for names in half for name in names] for half in (every[::2], every[1::2]))
    return trained_on, held_out


def page_text(receipts: Path, names: list[str]) -> Phrases:
    """Returns the text of rendered pages: short lines and words of the training receipts, rare words more often."""
    vocabulary = Vocabulary.load("lexicon")
    texts = [(receipts / f"{name}.txt").read_text(encoding="utf-8") for name in names]
    lines = [line for text in texts for line in text.splitlines()]
    latin = (word for word in segment_lines(lines) if word.isascii() and word.isalpha())
    counts = Counter(word for word in latin if vocabulary.id(word) is not None)
    words = {word: count**0.7 for word, count in sorted(counts.items())}
    return Phrases.of([line for line in lines if len(line) <= LONGEST_PHRASE and re.search("[A-Za-z]", line)], words)


def write_shard(path: Path, text: Phrases) -> None:
    """Renders the pages of a shard, numbered by its name, as JPEGs of varying quality."""
    first = int(path.stem) * PAGES_IN_SHARD
    with written_aside(path) as unfinished, tarfile.open(unfinished, "w") as archive:
        for number in range(first, first + PAGES_IN_SHARD):
            buffer = io.BytesIO()
            render_page(number, text).save(buffer, "JPEG", quality=random.Random(number).randint(55, 92))
            member = tarfile.TarInfo(f"{number:06d}.jpg")
            member.size = len(buffer.getvalue())
            buffer.seek(0)
            archive.addfile(member, buffer)
