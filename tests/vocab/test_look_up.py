"""Lookup of words and class ids, and the description of a vocabulary."""

import pytest

from ovocr.vocab import Vocabulary
from ovocr.vocab.look_up import Answer, describe, format_description, look_up

WORDS = ["hello", "2", "café", "sk-ii", "干净", "Odd", "99"]


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary(WORDS)


@pytest.mark.parametrize(
    ("item", "id", "word", "note"),
    [
        ("hello", 0, "hello", ""),
        ("ＨＥＬＬＯ", 0, "hello", "is looked up as hello"),
        ("CAFE\u0301", 2, "café", "is looked up as café"),
        ("SK\u2010II", 3, "sk-ii", "is looked up as sk-ii"),
        ("Odd", 5, "Odd", ""),
        ("3", 3, "sk-ii", ""),
        ("0003", 3, "sk-ii", ""),
        ("99", 6, "99", "is a word of the vocabulary, not a class id of it"),
        ("7", None, None, "class ids go from 0 to 6"),
        ("9" * 5000, None, None, "class ids go from 0 to 6"),
        ("World", None, None, "not in the vocabulary (looked up as world)"),
        ("hello-world", None, None, "not in the vocabulary; segmentation makes it hello + world"),
        ("$5.00", None, None, "not in the vocabulary; segmentation finds no word in it"),
        ("乾淨", None, None, "not in the vocabulary"),
        ("\udc80", None, None, "not in the vocabulary; segmentation finds no word in it"),
        ("", None, None, "not in the vocabulary; segmentation finds no word in it"),
    ],
)
def test_look_up_returns_one_answer(
    vocabulary: Vocabulary, item: str, id: int | None, word: str | None, note: str
) -> None:
    assert look_up(vocabulary, item) == [Answer(asked=item, id=id, word=word, note=note)]


def test_look_up_returns_two_answers_for_digits_that_are_also_a_word(vocabulary: Vocabulary) -> None:
    assert look_up(vocabulary, "2") == [
        Answer(asked="2", id=2, word="café"),
        Answer(asked="2", id=1, word="2", note="is a word of the vocabulary as well as a class id"),
    ]


def test_look_up_uses_the_vocabularys_segmentation() -> None:
    vocabulary = Vocabulary(WORDS, {"segmenter": {"han": "simplified"}})
    assert look_up(vocabulary, "乾淨") == [Answer(asked="乾淨", id=4, word="干净", note="is looked up as 干净")]


def test_describe_and_format_description() -> None:
    settings = {
        "segmenter": {"version": 1, "hmm": True},
        "source": [{"manifest_sha256": "ab", "shards": 3}, {"manifest_sha256": "cd", "shards": 1}],
        "notes": ["a", "\x1b[31m"],
    }
    vocabulary = Vocabulary([f"w{number}" for number in range(1200)], settings)
    description = describe(vocabulary)
    assert description["first"] == [f"w{number}" for number in range(10)]
    assert description["last"] == [f"w{number}" for number in range(1190, 1200)]
    assert format_description(description).splitlines()[:-2] == [
        "size                      1,200",
        f"sha256                    {vocabulary.sha256}",
        "segmenter.version         1",
        "segmenter.hmm             True",
        "source.1.manifest_sha256  ab",
        "source.1.shards           3",
        "source.2.manifest_sha256  cd",
        "source.2.shards           1",
        "notes                     a, \\x1b[31m",
    ]


def test_describe_a_short_vocabulary_without_settings() -> None:
    description = describe(Vocabulary(["a", "b"]))
    assert (description["first"], description["last"]) == (["a", "b"], ["a", "b"])
