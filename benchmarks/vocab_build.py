"""Time and memory of `ovocr vocab build` on synthetic data sets, compared with a Counter in one process.

    python benchmarks/vocab_build.py FOLDER --tokens 100000000 --distinct 20000000

Creates two data sets of stored text in FOLDER, `part` and `rest`, with words by Zipf's law: every distinct word once,
the other occurrences by rank. Then it runs, one after the other: a Counter over `part`, the command on `part`, the
command on both, and the stages of counting one shard. FOLDER/data is deleted at the end.
"""

import argparse
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from resident_memory import resident

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.manifest import Manifest, TagPolicy, WordsEntry
from ovocr.dataset.text import find_shards, read_images
from ovocr.vocab.building.shard_counts import count_shards
from ovocr.vocab.segmentation.segmenter import DEFAULT, load_segmenter, segment_lines

WORDS_A_LINE = 8
LINES_AN_IMAGE = 50
SHARD_IMAGES = 2_500


def spell(numbers: np.ndarray) -> pa.Array:
    """Returns a distinct word of lowercase letters for each number: its digits to base 26, including the first."""
    letters = np.full((len(numbers), 8), ord(" "), np.uint8)
    rest = numbers.copy()
    for column in range(7, -1, -1):
        letters[:, column] = np.where((rest > 0) | (column == 7), ord("a") + rest % 26, ord(" "))
        rest //= 26
    return pc.ascii_ltrim_whitespace(pa.array(letters.view("S8").ravel().astype(str)))


def shard_ids(shard: int, shards: int, tokens: int, distinct: int, order: np.ndarray) -> np.ndarray:
    """Returns the ranks of a shard's words: its part of all words once, the rest with probability ~ 1 / (rank + 1)."""
    random = np.random.default_rng(shard)
    own = order[shard * distinct // shards : (shard + 1) * distinct // shards]
    count = (shard + 1) * tokens // shards - shard * tokens // shards
    drawn = (distinct ** random.random(count - len(own))).astype(np.int64) - 1
    ids = np.concatenate([own, drawn])
    random.shuffle(ids)
    return ids


def stored_text(ids: np.ndarray, words: pa.Array) -> pa.Table:
    """Returns the table that build-labels writes for the images of a shard."""
    texts = words.take(pa.array(ids))
    starts = pa.array(np.append(np.arange(0, len(ids), WORDS_A_LINE), len(ids)).astype(np.int32))
    lines = pc.binary_join(pa.ListArray.from_arrays(starts, texts), " ")
    scores = pa.array(np.full(len(lines), 0.9, np.float32))
    boxes = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(8 * len(lines), np.float32)), 8)
    no_edges = pa.ListArray.from_arrays(pa.array(np.zeros(len(lines) + 1, np.int32)), pa.array([], pa.float32()))
    struct = pa.StructArray.from_arrays([lines, scores, boxes, no_edges], ["text", "score", "box", "edges"])
    starts = pa.array(np.append(np.arange(0, len(lines), LINES_AN_IMAGE), len(lines)).astype(np.int32))
    lists = pa.ListArray.from_arrays(starts, struct)
    sides = pa.array(np.full(len(lists), 100, np.int32))
    keys = pa.array([f"page-{number:08d}.jpg" for number in range(len(lists))])
    return pa.table({"key": keys, "width": sides, "height": sides, "lines": lists})


def make(data: Path, tokens: int, distinct: int, part_share: float) -> tuple[Path, Path]:
    """Creates the data sets part and rest."""
    shards = max(8, round(tokens / (WORDS_A_LINE * LINES_AN_IMAGE * SHARD_IMAGES)))
    in_part = max(2, round(shards * part_share))
    # Frequent words are short, as in natural languages: a word's number follows its rank.
    words = pa.concat_arrays([spell(np.arange(a, min(a + 10**6, distinct))) for a in range(0, distinct, 10**6)])
    order = np.random.default_rng(0).permutation(distinct)
    part, rest = LabelledDataSet(data / "part"), LabelledDataSet(data / "rest")
    for shard in range(shards):
        data_set = part if shard < in_part else rest
        for path in (data_set.ocr_path(shard), data_set.stats_path(shard)):
            path.parent.mkdir(parents=True, exist_ok=True)
        table = stored_text(shard_ids(shard, shards, tokens, distinct, order), words)
        pq.write_table(table, data_set.ocr_path(shard), compression="zstd", row_group_size=1000)
        data_set.stats_path(shard).write_text("{}")
    for data_set in (part, rest):
        _describe(data_set)
    return part.root, rest.root


def _describe(data_set: LabelledDataSet) -> None:
    """Writes a manifest, which is needed to read the text."""
    words = WordsEntry(size=1, sha256="", segmentation={})
    manifest = Manifest(
        policy=TagPolicy(tags=1, seed=0), shard_size=1, max_pixels=1, words=words, engine={}, versions={}, shards=()
    )
    manifest.write(data_set.manifest_path)


def count_plainly(root: Path) -> None:
    """Counts words with one Counter."""
    start = time.monotonic()
    counter: Counter[str] = Counter()
    for shard in find_shards([root]):
        for image in read_images(shard):
            counter.update(segment_lines(image.lines))
    ranked = sorted(counter.items(), key=lambda entry: (-entry[1], entry[0]))
    print(f"{counter.total()} {len(ranked)} {time.monotonic() - start} {time.process_time()}")


@dataclass
class Watch:
    """Measurements of a command.

    seconds: wall time. busy: processor time, in seconds. counting: seconds until the merge began.
    peak: resident bytes of all processes together.
    """

    seconds: float
    busy: float
    counting: float
    peak: int
    output: str


def tree(root: int) -> Iterator[int]:
    """Returns the ids of a process and its descendants."""
    yield root
    try:
        children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from tree(int(child))


def busy_children() -> float:
    """Returns the processor time of all ended descendants of this process."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(out: Path, *arguments: object) -> Watch:
    """Runs `ovocr vocab build`, sampled ten times a second."""
    command = [sys.executable, "-m", "ovocr", "vocab", "build", *map(str, arguments), "--out", str(out)]
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    watch = Watch(0.0, 0.0, 0.0, 0, "")
    done = threading.Event()

    def sample() -> None:
        merging = out.with_name(out.name + ".building") / "merged" / "words.duckdb"
        while not done.wait(0.1):
            watch.peak = max(watch.peak, sum(map(resident, tree(process.pid))))
            if not watch.counting and merging.exists():
                watch.counting = time.monotonic() - start

    thread = threading.Thread(target=sample)
    thread.start()
    before = busy_children()
    watch.output, _ = process.communicate()
    watch.seconds, watch.busy = time.monotonic() - start, busy_children() - before
    done.set()
    thread.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return watch


def time_stages(root: Path, folder: Path) -> None:
    """Returns the processor time of the stages of counting one shard, in this process."""
    shard = find_shards([root])[0]
    load_segmenter()
    marks = [time.process_time()]
    images = list(read_images(shard))
    marks.append(time.process_time())
    words = sum(len(segment_lines(image.lines)) for image in images)
    marks.append(time.process_time())
    counted = count_shards([shard], folder, DEFAULT, workers=1, memory=10**9, progress=False)
    marks.append(time.process_time())
    reading, segmenting, whole = (b - a for a, b in pairwise(marks))
    print(
        f"one shard, {words:,} words: {whole:.1f} s of processor time, reading {reading / whole:.0%}, segmenting "
        f"{segmenting / whole:.0%}, the rest counts and writes {len(counted.files)} file",
        flush=True,
    )


def compare(part: Path, folder: Path, options: list[str]) -> None:
    plainly = subprocess.run(
        [sys.executable, __file__, str(part), "--plain"], check=True, capture_output=True, text=True
    ).stdout.split()
    watch = run(folder / "part.txt", part, *options)
    seconds, busy = map(float, plainly[2:])
    print(
        f"part, {int(plainly[0]):,} words, {int(plainly[1]):,} distinct: Counter {seconds:.1f} s ({busy:.1f} "
        f"of processor time), command {watch.seconds:.1f} s ({watch.busy:.1f}; {watch.counting:.1f} s counting, peak "
        f"{watch.peak / 2**30:.2f} GiB): {seconds / watch.seconds:.2f} times as fast",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokens", type=int, default=2_000_000)
    parser.add_argument("--distinct", type=int, default=400_000)
    parser.add_argument("--part", type=float, default=0.1, help="share of the shards that the Counter reads")
    parser.add_argument("--rounds", type=int, default=2, help="number of rounds of Counter and command on the part")
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plain:
        count_plainly(arguments.folder)
        return
    data = arguments.folder / "data"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    try:
        part, rest = make(data, arguments.tokens, arguments.distinct, arguments.part)
        options = ["--memory", arguments.memory]
        time_stages(part, data)
        for number in range(arguments.rounds):
            compare(part, data, [*options, *(["--force"] if number else [])])
        watch = run(data / "all.txt", part, rest, *options)
        print(
            f"all: {watch.seconds:.0f} s ({watch.busy:.0f} of processor time), {watch.counting:.0f} s counting; peak "
            f"of all processes together {watch.peak / 2**30:.2f} GiB\n{watch.output}"
        )
    finally:
        shutil.rmtree(data)


if __name__ == "__main__":
    main()
