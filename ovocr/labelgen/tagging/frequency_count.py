"""Counts the images with each word in the stored text of a data set, for ``--policy idf``."""

from collections import Counter
from functools import partial

from ovocr.dataset.manifest import TagPolicy
from ovocr.dataset.text import TextShard, read_images
from ovocr.labelgen.tagging.left_out import limit_of
from ovocr.processes.shard_map import map_shards
from ovocr.vocab import Segmentation, Vocabulary, find_words
from ovocr.vocab.word_frequencies import WordFrequencies


def count_frequencies(
    shards: list[TextShard], vocabulary: Vocabulary, policy: TagPolicy, workers: int
) -> WordFrequencies:
    """Counts a vocabulary's words in the stored text of ``shards``, without those that the policy leaves out.

    Raises OvocrError if the text cannot be read.
    """
    images = 0
    in_images: Counter[str] = Counter()
    work = partial(_count_shard, Segmentation.of(vocabulary.settings), policy)
    for count, words in map_shards(work, shards, workers=workers, progress="word frequencies"):
        images += count
        in_images.update({word: number for word, number in words.items() if word in vocabulary})
    return WordFrequencies(images, in_images)


def _count_shard(segmentation: Segmentation, policy: TagPolicy, shard: TextShard) -> tuple[int, Counter[str]]:
    """Returns the number of images and the number of images with each word."""
    images = 0
    in_images: Counter[str] = Counter()
    with shard.on_disk("ocr") as stored:
        for image in read_images(stored, scores=policy.min_score > 0):
            images += 1
            words = find_words(image.lines, segmentation)
            in_images.update({word.text for word in words if limit_of(word, image.scores, policy) is None})
    return images, in_images
