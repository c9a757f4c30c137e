"""Makes a labelled data set with any number of shards: the files of each are hard links of those of the first one.

    python benchmarks/large_data_set.py OUT [--shards N] [--records N] [--copies] [--own-keys] [--side PIXELS]

One shard of small JPEGs with two lines of text each is labelled with given text; OUT/source.tar and OUT/lines.jsonl are
its source. Then the data set OUT/labels gets --shards shards. With --copies, each shard has files of its own, as cold
reads need: hard links share the page cache. With --own-keys, no two images have the same key, as searches for keys and
`ovocr split` need: each shard has tables of its own.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from ovocr.dataset.layout import LabelledDataSet
from ovocr.dataset.statistics import FileDescription, ShardStatistics, read_statistics
from ovocr.dataset.tables import ROW_GROUP_ROWS

WORDS = ("harbour", "ferry", "platform", "seven", "gangway", "slippery", "market", "station", "bridge", "garden")


def write_source(folder: Path, records: int, side: int) -> tuple[Path, Path]:
    """Writes a tar of images and a table of their lines; returns both."""
    rng = np.random.default_rng(0)
    source, table = folder / "source.tar", folder / "lines.jsonl"
    with tarfile.open(source, "w") as tar, table.open("w") as lines:
        for number in range(records):
            key = f"{number:06d}.jpg"
            pixels = rng.integers(0, 256, (side // 8, side // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
            encoded = io.BytesIO()
            Image.fromarray(pixels).save(encoded, "JPEG", quality=85)
            member = tarfile.TarInfo(key)
            member.size = len(encoded.getvalue())
            tar.addfile(member, io.BytesIO(encoded.getvalue()))
            first, second = rng.choice(WORDS, 2, replace=False).tolist()
            row = [
                {"text": f"{first} {second}", "box": [4, 4, side - 4, side // 4], "score": 0.9},
                {"text": str(rng.choice(WORDS)), "box": [4, side // 2, side - 4, side // 2 + side // 4], "score": 0.9},
            ]
            lines.write(json.dumps({"key": key, "lines": row}) + "\n")
    return source, table


def grow(data_set: LabelledDataSet, shards: int, *, copies: bool = False, own_keys: bool = False) -> None:
    """Adds shards up to this number, all with the files of the first one; ``own_keys`` precedes keys by the number."""
    manifest = data_set.manifest()
    (first,) = manifest.shards
    text = manifest.has_text
    entries = [replace(first, source=f"/data/{number:05d}.tar") for number in range(shards)]
    statistics = read_statistics(data_set.stats_path(0), first, has_text=text, generations=1)
    tables = {}
    if own_keys:
        tables = {name: pq.read_table(data_set.data_files(0, with_text=text)[name]) for name in ("ocr", "records")}
    for number, entry in enumerate(entries):
        files = dict(statistics.files)
        for name, path in data_set.data_files(0, with_text=text).items():
            own_path = data_set.data_files(number, with_text=text)[name]
            if number and name in tables:
                write_with_keys(own_path, tables[name], f"{number:05d}/")
                files[name] = FileDescription.of(own_path)
            elif number:
                (shutil.copyfile if copies else os.link)(path, own_path)
        own: ShardStatistics = replace(statistics, entry=entry, files=files)
        data_set.stats_path(number).write_text(json.dumps(own.to_json(), indent=2) + "\n")
    replace(manifest, shards=tuple(entries)).write(data_set.manifest_path)


def write_with_keys(path: Path, rows: pa.Table, prefix: str) -> None:
    """Writes a table of a shard whose keys begin with ``prefix``, and whose source is ``/data/<prefix>.tar``."""
    keys = pc.binary_join_element_wise(prefix, rows["key"], "")
    rows = rows.set_column(rows.schema.get_field_index("key"), "key", keys)
    if "source" in rows.column_names:
        source = pa.array([f"/data/{prefix.rstrip('/')}.tar"] * rows.num_rows)
        rows = rows.set_column(rows.schema.get_field_index("source"), "source", source)
    pq.write_table(rows, path, compression="zstd", row_group_size=ROW_GROUP_ROWS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--shards", type=int, default=3000)
    parser.add_argument("--records", type=int, default=10_000, help="images of a shard")
    parser.add_argument("--copies", action="store_true", help="copy the files instead of linking them")
    parser.add_argument("--own-keys", action="store_true", help="give each image a key of its own")
    parser.add_argument("--side", type=int, default=64, help="side of the images, in pixels; a multiple of 8")
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    source, table = write_source(options.out, options.records, options.side)
    labels = options.out / "labels"
    command = ["build-labels", str(source), "--lines", str(table), "--out", str(labels), "--worker-images", "1000000"]
    subprocess.run([sys.executable, "-m", "ovocr", *command], check=True)
    grow(LabelledDataSet(labels), options.shards, copies=options.copies, own_keys=options.own_keys)
    print(f"{labels}: {options.shards:,} shards of {options.records:,} images")


if __name__ == "__main__":
    main()
