"""The built-in vocabulary, compared with the two word lists independently of the package's code."""

import unicodedata
from pathlib import Path

import jieba
import pytest
import regex
import wordfreq

from ovocr.base.errors import OvocrError
from ovocr.vocab import Vocabulary
from ovocr.vocab import lexicon as lexicon_module
from ovocr.vocab.segmentation.normalisation import normalise

SHA256 = "726deb6567bde8f77d85f202c61aaa29126e56fec17f8c0ceb4bc83c5cd01d21"
CHINESE, ENGLISH = 182_594, 182_593


@pytest.fixture(scope="module")
def words(lexicon: Vocabulary) -> list[str]:
    return [lexicon.word(id) for id in range(len(lexicon))]


@pytest.fixture(scope="module")
def frequencies() -> dict[str, int]:
    """Returns the frequencies of jieba's normalised words."""
    found: dict[str, int] = {}
    for line in Path(jieba.__file__).with_name("dict.txt").read_text(encoding="utf-8").splitlines():
        entry, frequency, _ = line.split(" ")
        word = unicodedata.normalize("NFKC", entry).casefold()
        found[word] = max(int(frequency), found.get(word, 0))
    return found


def test_size_and_sha256(lexicon: Vocabulary) -> None:
    assert len(lexicon) == 365_187
    assert lexicon.sha256 == SHA256


def test_words_are_distinct_and_normalised(words: list[str]) -> None:
    assert len(set(words)) == len(words)
    assert [word for word in words if normalise(word) != word] == []


def test_chinese_part_is_the_most_frequent_of_the_dictionary(words: list[str], frequencies: dict[str, int]) -> None:
    chinese = words[:CHINESE]
    counts = [frequencies[word] for word in chinese]
    assert counts == sorted(counts, reverse=True)
    assert max(frequencies[word] for word in frequencies.keys() - set(chinese)) <= counts[-1]
    assert chinese[:3] == ["了", "是", "在"]


def test_equally_frequent_words_are_ordered_by_script_length_and_code_point(
    words: list[str], frequencies: dict[str, int]
) -> None:
    ties = [word for word in words[:CHINESE] if frequencies[word] == 3]
    mixed = [word for word in ties if not regex.fullmatch(r"\p{Han}+", word)]
    assert {"c++", "c#", "at&t", "4s店"} <= set(mixed)
    for part in (mixed, ties[len(mixed) :]):
        assert part == sorted(part, key=lambda word: (len(word), word))
    assert ties[: len(mixed)] == mixed


def test_english_part_follows_the_order_of_the_list(words: list[str]) -> None:
    taken = set(words[:CHINESE])
    expected: dict[str, None] = {}
    for group in wordfreq.get_frequency_list("en", "large"):
        for listed in group:
            word = normalise(listed)
            if regex.fullmatch(r"\p{Latin}[\p{Latin}\p{M}]*('\p{Latin}[\p{Latin}\p{M}]*)*", word) and word not in taken:
                expected[word] = None
    assert words[CHINESE:] == list(expected)[:ENGLISH]
    assert words[CHINESE : CHINESE + 3] == ["the", "to", "and"]
    assert {"don't", "café", "wi", "fi"} <= set(words[CHINESE:])


def test_settings(lexicon: Vocabulary) -> None:
    assert lexicon.settings == {
        "normalisation": {"form": "NFKC casefold NFKC", "version": 1},
        "segmenter": {"version": 2, "chinese": "jieba 0.42.1", "hmm": True},
        "source": ["jieba 0.42.1", "wordfreq 3.1.1"],
        "counts": {"chinese": CHINESE, "english": ENGLISH},
    }


def test_saved_lexicon_loads_unchanged(lexicon: Vocabulary, tmp_path: Path) -> None:
    lexicon.save(tmp_path / "vocab.txt")
    loaded = Vocabulary.load(tmp_path / "vocab.txt")
    assert (loaded.sha256, loaded.settings, loaded.id("c++")) == (SHA256, lexicon.settings, lexicon.id("c++"))


def test_build_lexicon_refuses_other_word_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordfreq, "get_frequency_list", lambda language, size: [["the", "of"]])
    with pytest.raises(OvocrError) as raised:
        lexicon_module.build_lexicon()
    message = str(raised.value)
    assert "with jieba 0.42.1 and wordfreq 3.1.1" in message
    assert message.endswith(f"not {SHA256}: pip install jieba==0.42.1 wordfreq==3.1.1")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the path of the cached lexicon in an empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "ovocr" / f"lexicon-{SHA256[:16]}.txt"


def test_load_uses_the_cached_lexicon(lexicon: Vocabulary, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Vocabulary.load("lexicon").sha256 == SHA256
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]
    monkeypatch.setattr(lexicon_module, "build_lexicon", lambda: pytest.fail("the lexicon was made again"))
    again = Vocabulary.load("lexicon")
    assert (again.sha256, again.settings, again.id("c++")) == (SHA256, lexicon.settings, lexicon.id("c++"))


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"the\n", b"\xff\n"])
def test_load_replaces_other_content_in_the_cache(cache: Path, content: bytes) -> None:
    cache.parent.mkdir()
    cache.write_bytes(content)
    assert Vocabulary.load("lexicon").sha256 == SHA256
    assert len(cache.read_bytes()) > 1_000_000


def test_load_works_without_a_writable_cache(cache: Path) -> None:
    cache.parent.touch()  # a file instead of the folder
    assert Vocabulary.load("lexicon").sha256 == SHA256
