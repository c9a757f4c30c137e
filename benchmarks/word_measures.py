"""Time and memory that word AUC and word mAP need for data sets of several sizes: synthetic embeddings and tags.

    python benchmarks/word_measures.py --images 500 10000 100000 --classes 365187 --tags 60 --dim 1024

The frequencies of the classes fall as 1 / rank, as those of words do, down from half of the images. Peak memory is in
addition to embeddings, tags and class centers, whose size is printed before it.
"""

import argparse
import time

import numpy as np
import torch
from process_memory import peak_memory

from ovocr.trainer.measures.image_tags import ImageTags
from ovocr.trainer.measures.word_measures import REPLICATES, OwnCenters, measure_words

MOST = 0.5  # share of the images that have the most frequent class


def make_tags(images: int, classes: int, tags: int) -> ImageTags:
    """Returns tags with heights of 3 to 40 pixels, a tenth of them unknown; ``tags`` of an image in the mean."""
    random = np.random.default_rng(0)
    low, high = 0.0, float(classes)
    for _ in range(60):  # bisection: shares of scale / rank that give this mean number of tags
        scale = (low + high) / 2
        low, high = (scale, high) if shares(scale, classes).sum() < tags else (low, scale)
    counts = random.binomial(images, shares(scale, classes))
    ids = np.repeat(np.arange(classes, dtype=np.int32), counts)
    owners = np.concatenate([random.choice(images, count, replace=False) for count in counts[counts > 0].tolist()])
    order = np.lexsort((ids, owners))
    heights = np.exp(random.uniform(np.log(3), np.log(40), len(ids))).astype(np.float32)
    heights[random.random(len(ids)) < 0.1] = np.nan
    return ImageTags(np.cumsum(np.bincount(owners, minlength=images)), ids[order], heights)


def shares(scale: float, classes: int) -> np.ndarray:
    return np.minimum(MOST, scale / np.arange(1, classes + 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[500, 10_000])
    parser.add_argument("--classes", type=int, default=20_000)
    parser.add_argument("--tags", type=int, default=60, help="mean number of tags of an image")
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--replicates", type=int, default=REPLICATES)
    parser.add_argument("--device", default="cpu", help="device of embeddings and class centers")
    arguments = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(arguments.classes, arguments.dim, generator=generator).to(arguments.device)
    print(f"torch {torch.__version__}, numpy {np.__version__}, {torch.get_num_threads()} threads, {arguments.device}")
    for images in arguments.images:
        tags = make_tags(images, arguments.classes, arguments.tags)
        embeddings = torch.randn(images, arguments.dim, generator=generator).to(arguments.device)
        given = tags.ids.nbytes + tags.heights.nbytes + tags.ends.nbytes + embeddings.nbytes + weight.nbytes
        start = time.monotonic()
        with peak_memory(torch.device("cpu")) as peak:
            found = measure_words(
                embeddings,
                tags,
                OwnCenters(weight, 0, arguments.classes),
                replicates=arguments.replicates,
                progress=f"{images:,} images",
            )
        seconds = time.monotonic() - start
        eligible = [found.every, *found.by_text_height.values()]
        pairs = sum(group.word_auc.classes for group in eligible)
        each_ms = 1000 * seconds / max(1, found.every.word_auc.classes)
        print(
            f"{images:,} images, {len(tags.ids):,} tags, {found.every.word_auc.classes:,} eligible classes, "
            f"{pairs:,} with bands: {seconds:.1f} s, {each_ms:.1f} ms per class; "
            f"given {given / 2**30:.2f} GiB, peak {peak.bytes / 2**30:.2f} GiB more",
            flush=True,
        )


if __name__ == "__main__":
    main()
