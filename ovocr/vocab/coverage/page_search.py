"""The words that a coverage page can look up, as its script reads them."""

from collections.abc import Mapping, Sequence
from typing import Any

from ovocr.dataset.text import TextShard
from ovocr.vocab.coverage.report import FrequentWords
from ovocr.vocab.word_script import SCRIPTS, script_of

# Maximum total length of the example images' keys on the page, in characters. A key may be as long as a URL.
KEY_CHARACTERS = 4_000_000


def search_columns(frequent: FrequentWords, shards: Sequence[TextShard], names: Mapping[str, str]) -> dict[str, Any]:
    """Returns columns of equal length, one row per word. -1 means that a value is missing.

    names: the vocabularies' names on the page, by their full names.
    """
    data_sets = list(dict.fromkeys(shard.data_set for shard in shards))
    data_set_of_shard = [data_sets.index(shard.data_set) for shard in shards]
    image_keys, key_of_word = _number_keys([found.example for found in frequent.words])
    return {
        "vocabularies": [names[named.name] for named in frequent.vocabularies],
        "complete": _ranked(frequent) == frequent.distinct_words,
        "words": [found.word for found in frequent.words],
        "ranks": [-1 if rank is None else rank for rank in frequent.ranks],
        "times": [found.tokens for found in frequent.words],
        "images": [found.images for found in frequent.words],
        "ids": [
            [-1 if (class_id := named.vocabulary.id(found.word)) is None else class_id for found in frequent.words]
            for named in frequent.vocabularies
        ],
        "scripts": SCRIPTS,
        "script": [SCRIPTS.index(script_of(found.word)) for found in frequent.words],
        "dataSets": list(map(str, data_sets)),
        "dataSet": [data_set_of_shard[found.shard] for found in frequent.words],
        "keys": image_keys,
        "key": key_of_word,
    }


def search_extent(frequent: FrequentWords, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Returns which words the search has. least: the fewest times that one of the most frequent words was read."""
    ranked = _ranked(frequent)
    tokens = sum(found.tokens for found, rank in zip(frequent.words, frequent.ranks, strict=True) if rank is not None)
    return {
        "vocabularies": columns["vocabularies"],
        "complete": columns["complete"],
        "ranked": ranked,
        "distinct_words": frequent.distinct_words,
        "token_share": tokens / frequent.tokens if frequent.tokens else 0.0,
        "least": frequent.words[ranked - 1].tokens if ranked else 0,
        "without_image": columns["key"].count(-1),
    }


def _ranked(frequent: FrequentWords) -> int:
    return sum(rank is not None for rank in frequent.ranks)


def _number_keys(examples: Sequence[str]) -> tuple[list[str], list[int]]:
    """Returns the distinct keys and the number of each word's key; -1 after the keys reach ``KEY_CHARACTERS``."""
    numbers: dict[str, int] = {}
    word_numbers = []
    left = KEY_CHARACTERS
    for key in examples:
        if key not in numbers and len(key) <= left:
            numbers[key] = len(numbers)
            left -= len(key)
        word_numbers.append(numbers.get(key, -1))
    return list(numbers), word_numbers
