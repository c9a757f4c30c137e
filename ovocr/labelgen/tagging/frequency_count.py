"""Counts the images with each word in the stored text of a data set, for ``--policy idf``."""

from collections import Counter
from functools import partial

from ovocr.dataset.text import TextShard, read_images
from ovocr.processes.shard_map import map_shards
from ovocr.vocab import Segmentation, Vocabulary, segment_lines
from ovocr.vocab.word_frequencies import WordFrequencies


def count_frequencies(shards: list[TextShard], vocabulary: Vocabulary, workers: int) -> WordFrequencies:
    """Counts a vocabulary's words in the stored text of ``shards``. Raises OvocrError if it cannot be read."""
    images = 0
    in_images: Counter[str] = Counter()
    work = partial(_count_shard, Segmentation.of(vocabulary.settings))
    for count, words in map_shards(work, shards, workers=workers, progress="word frequencies"):
        images += count
        in_images.update({word: number for word, number in words.items() if word in vocabulary})
    return WordFrequencies(images, in_images)


def _count_shard(segmentation: Segmentation, shard: TextShard) -> tuple[int, Counter[str]]:
    """Returns the number of images and the number of images with each word."""
    images = 0
    in_images: Counter[str] = Counter()
    for image in read_images(shard):
        images += 1
        in_images.update(set(segment_lines(image.lines, segmentation)))
    return images, in_images
