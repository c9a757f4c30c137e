"""Curves and histograms of a coverage report: coverage by size, frequency by rank, words per image."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ovocr.vocab.coverage.figures import FrequencyBand, RankPoint, SizeNeeded, SizePoint, WordsPerImage, share

Counts = npt.NDArray[np.int64]

# Groups of images by their number of distinct in-vocabulary words: the least number of each group, and its name.
WORD_CLASSES = ((0, "0"), (1, "1-9"), (10, "10-99"), (100, "100+"))
HISTOGRAM_LEAST = (0, 1, 2, 5, 10, 20, 50, 100, 200)
PERCENTILES = (5, 25, 50, 75, 95, 100)
RANKS_PER_DECADE = 12
SHARES_NEEDED = (90, 95, 99)
"""Percentages of the tokens."""


def sizes_up_to(limit: int) -> list[int]:
    """Returns 1, 2, 5, 10, 20 ... below ``limit``, then ``limit``."""
    steps = (digit * 10**power for power in range(len(str(limit))) for digit in (1, 2, 5))
    return [*(step for step in steps if step < limit), limit]


def size_curve(class_tokens: Counts, words_by_tokens: Mapping[int, int], tokens: int) -> tuple[SizePoint, ...]:
    """Returns the coverage of the first words of a vocabulary, by their number.

    class_tokens: [classes], tokens of each class. words_by_tokens: maps n to the number of words of the corpus that
    occur n times. tokens: number of tokens of the corpus.
    """
    sizes = sizes_up_to(len(class_tokens))
    covered = np.cumsum(class_tokens)
    best = _most_frequent(words_by_tokens, sizes)
    return tuple(
        SizePoint(size=size, token_coverage=share(int(covered[size - 1]), tokens), best=share(most, tokens))
        for size, most in zip(sizes, best, strict=True)
    )


def _most_frequent(words_by_tokens: Mapping[int, int], sizes: Sequence[int]) -> Iterator[int]:
    """Yields the tokens of the ``size`` most frequent words, for rising sizes."""
    remaining = iter(sorted(words_by_tokens.items(), reverse=True))
    frequency, words = next(remaining, (0, 0))
    words_before = tokens_before = 0  # words with a higher frequency, and their tokens
    for size in sizes:
        while size > words_before + words and frequency:
            words_before, tokens_before = words_before + words, tokens_before + frequency * words
            frequency, words = next(remaining, (0, 0))
        yield tokens_before + frequency * min(size - words_before, words)


def sizes_needed(class_tokens: Counts, words_by_tokens: Mapping[int, int], tokens: int) -> tuple[SizeNeeded, ...]:
    """Returns the number of words that cover each of SHARES_NEEDED. The arguments are those of ``size_curve``."""
    covered = np.cumsum(class_tokens)
    return tuple(
        SizeNeeded(
            share=percent / 100,
            size=_first_at_least(covered, needed),
            best=_most_frequent_needed(words_by_tokens, needed) if tokens else None,
        )
        for percent in SHARES_NEEDED
        for needed in [-(-percent * tokens // 100)]
    )


def _first_at_least(covered: Counts, needed: int) -> int | None:
    """Returns the number of the first words that cover ``needed`` tokens; None if all of them do not."""
    index = int(np.searchsorted(covered, needed))
    return index + 1 if needed and index < len(covered) else None


def _most_frequent_needed(words_by_tokens: Mapping[int, int], needed: int) -> int:
    """Returns the number of most frequent words that have ``needed`` tokens, at most all."""
    size = 0
    for frequency, words in sorted(words_by_tokens.items(), reverse=True):
        if frequency * words >= needed:
            return size + -(-needed // frequency)
        size, needed = size + words, needed - frequency * words
    return size


def rank_frequency(class_tokens: Counts, class_images: Counts) -> tuple[RankPoint, ...]:
    """Returns points at ranks of occurring classes, a twelfth of a decade apart, including the first and last rank."""
    tokens, images = (np.sort(counts[counts > 0])[::-1] for counts in (class_tokens, class_images))
    if not len(tokens):
        return ()
    steps = np.arange(np.log10(len(tokens)) * RANKS_PER_DECADE)
    ranks = sorted({*(int(rank) for rank in np.rint(10 ** (steps / RANKS_PER_DECADE))), 1, len(tokens)})
    return tuple(RankPoint(rank=rank, tokens=int(tokens[rank - 1]), images=int(images[rank - 1])) for rank in ranks)


def class_frequency(class_tokens: Counts, class_images: Counts) -> tuple[FrequencyBand, ...]:
    """Returns the bands 0, 1, 2-9, 10-99 ... up to the most frequent class."""
    most = int(class_tokens.max(initial=0))
    least = [0, 1, 2, *(10**power for power in range(1, len(str(most))))]
    by_tokens, by_images = (_count_bins(counts, least) for counts in (class_tokens, class_images))
    return tuple(
        FrequencyBand(band=name, classes_by_tokens=tokens, classes_by_images=images)
        for name, tokens, images in zip(bin_names(least), by_tokens, by_images, strict=True)
    )


def _count_bins(counts: Counts, least: Sequence[int]) -> list[int]:
    bins = np.searchsorted(np.array(least), counts, side="right") - 1
    return [int(number) for number in np.bincount(bins, minlength=len(least))]


def words_per_image(images_by_words: Mapping[int, int]) -> WordsPerImage:
    """Returns the figures. images_by_words: maps n to the number of images with n distinct in-vocabulary words."""
    images = sum(images_by_words.values())
    bins = bin_images(images_by_words, HISTOGRAM_LEAST)
    names = bin_names([*HISTOGRAM_LEAST])
    return WordsPerImage(
        mean=share(sum(words * count for words, count in images_by_words.items()), images),
        percentiles={str(percent): _percentile(images_by_words, percent) for percent in PERCENTILES},
        histogram=dict(zip([*names[:-1], f"{HISTOGRAM_LEAST[-1]}+"], bins, strict=True)),
    )


def image_classes(images_by_words: Mapping[int, int]) -> dict[str, int]:
    """Returns the number of images in each of ``WORD_CLASSES``, by name."""
    bins = bin_images(images_by_words, [least for least, _ in WORD_CLASSES])
    return {name: images for (_, name), images in zip(WORD_CLASSES, bins, strict=True)}


def bin_images(images_by_words: Mapping[int, int], least: Sequence[int]) -> list[int]:
    """Returns the number of images per bin. least: the least number of words in each bin."""
    bins = [0] * len(least)
    for words, images in images_by_words.items():
        bins[int(np.searchsorted(np.array(least), words, side="right")) - 1] += images
    return bins


def bin_names(least: Sequence[int]) -> list[str]:
    """Returns names such as "0", "1", "2-9". The last bin ends before the next power of ten."""
    ends = [*(number - 1 for number in least[1:]), 10 ** len(str(least[-1])) - 1]
    return [str(first) if first == last else f"{first}-{last}" for first, last in zip(least, ends, strict=True)]


def _percentile(images_by_words: Mapping[int, int], percent: int) -> int:
    """Returns the least number of words that ``percent`` of the images do not exceed; 0 if there are no images."""
    images, seen = sum(images_by_words.values()), 0
    for words in sorted(images_by_words):
        seen += images_by_words[words]
        if 100 * seen >= percent * images:
            return words
    return 0
