"""Share of legible tags in what the encoder is shown: whole images, random crops, and crops chosen by their text.

    python benchmarks/legible_share.py DATA_SET... [--image-size 448] [--least 10] [--positions 20] [--json FILE]

A data set is a folder from `ovocr build-labels`. The samples are those of a training run without min_text_height
(`RecordSamples`): every image is shown whole once, and cropped at --positions positions of the run. Prints a Markdown
table: for each data set and way, the tags that a sample shows, the share of them whose text is at least --least pixels
high in the input, and how many legible tags a sample has. The random crops are those of crop_scale = [0.25, 1.0]; the
others have the range of text heights that docs/training.md recommends. Tags of unknown text height are left out.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.trainer.data.records import RecordSamples
from ovocr.views.random_crops import RandomCrops
from ovocr.views.text_crops import MAX_UPSCALE, RECOMMENDED_HEIGHTS, RangeSchedule, TextCrops
from ovocr.views.view import MIN_VISIBLE

WAYS: dict[str, RandomCrops | TextCrops | None] = {
    "whole images": None,
    "random crops": RandomCrops(share=1.0, scale=(0.25, 1.0), ratio=(3 / 4, 4 / 3), seed=0),
    "crops chosen by their text": TextCrops(
        share=1.0, heights=RangeSchedule(end=RECOMMENDED_HEIGHTS), max_upscale=MAX_UPSCALE, seed=0
    ),
}


def shown_heights(
    root: Path, image_size: int, crops: RandomCrops | TextCrops | None, positions: int
) -> Iterator[NDArray[np.float32]]:
    """Yields for each sample the text heights of the tags that it shows, in pixels of the input.

    positions: samples of each image if it is cropped; as in a run, the n-th pass over the images has other crops.
    """
    manifest = LabelledDataSet.open(root).manifest()
    samples = RecordSamples(
        [root],
        labels_stored=manifest.policy.tags,
        num_classes=manifest.num_classes,
        image_size=image_size,
        crops=crops,
        min_visible=MIN_VISIBLE,
    )
    passes = 1 if crops is None else positions
    for position in tqdm(range(passes * len(samples)), desc=root.name, leave=False, disable=None):
        index = position % len(samples)
        heights = samples.shown_tags(index, None if crops is None else position).heights
        yield heights[~np.isnan(heights)]


def measure(root: Path, image_size: int, least: float, positions: int) -> Iterator[dict[str, Any]]:
    """Yields the figures of each way to show the images of a data set."""
    for name, crops in WAYS.items():
        samples = list(shown_heights(root, image_size, crops, positions))
        heights = np.concatenate(samples)
        legible = int((heights >= least).sum())
        yield {
            "data_set": root.name,
            "shown": name,
            "samples": len(samples),
            "tags_per_sample": round(len(heights) / len(samples), 2),
            "legible_share": round(legible / max(1, len(heights)), 4),
            "legible_per_sample": round(legible / len(samples), 2),
            "samples_without": sum(not (own >= least).any() for own in samples),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_sets", type=Path, nargs="+", metavar="DATA_SET")
    parser.add_argument("--image-size", type=int, default=448, metavar="PX", help="side of the input")
    parser.add_argument("--least", type=float, default=10.0, metavar="PX", help="least height of legible text")
    parser.add_argument("--positions", type=int, default=20, metavar="N", help="crops of each image")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    try:
        rows = [
            row
            for root in options.data_sets
            for row in measure(root, options.image_size, options.least, options.positions)
        ]
    except OvocrError as error:
        print(f"legible_share: {error}", file=sys.stderr)
        return 1
    print(f"| data set | shown | samples | tags shown | {options.least:g}+ px | legible tags | samples without |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['data_set']} | {row['shown']} | {row['samples']:,} | {row['tags_per_sample']:.1f} | "
            f"{row['legible_share']:.1%} | {row['legible_per_sample']:.1f} | "
            f"{row['samples_without'] / row['samples']:.1%} |"
        )
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
