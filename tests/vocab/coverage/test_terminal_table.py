"""The terminal table of a coverage report."""

from collections.abc import Callable
from pathlib import Path

from ovocr.vocab import Vocabulary
from ovocr.vocab.coverage import NamedVocabulary, measure
from ovocr.vocab.coverage.terminal_table import format_table
from tests.manifests import make_manifest


def write(root: Path, write_shard: Callable[..., None]) -> None:
    write_shard(root, 0, [["Hello hello", "you 12"], [], ["$5.00"], ["zzz"], ["你好 zzz evil"]])


def test_table_of_one_vocabulary(tmp_path: Path, write_shard: Callable[..., None]) -> None:
    write(tmp_path, write_shard)
    words = ["hello", "你好", *(f"unseen{'x' * n}" for n in range(998)), "you"]
    report = measure([tmp_path], [NamedVocabulary(name="v", vocabulary=Vocabulary(words))], workers=1)
    assert format_table(report) == "\n".join(
        [
            "images                                       5",
            "  with 0 words in vocabulary                 3   60.0%",
            "    without text                             1   20.0%",
            "    with lines, without a word               1   20.0%",
            "    with words, none in it                   1   20.0%",
            "  with 1-9 words in vocabulary               2   40.0%",
            "  with 10-99 words in vocabulary             0    0.0%",
            "  with 100+ words in vocabulary              0    0.0%",
            "words                                        7",
            "  in vocabulary                              4   57.1%",
            "distinct words                               5",
            "  in vocabulary                              3   60.0%",
            "vocabulary                               1,001",
            "  found in these images                      3    0.3%",
            "words in vocabulary, and in the corpus's most frequent",
            "  first 1,000                                    42.9%  at best 100.0%",
            "first words of vocabulary that cover",
            "  90% of words, at best 5                57.1% at most",
            "  95% of words, at best 5                57.1% at most",
            "  99% of words, at best 5                57.1% at most",
            "words kept; images with one in vocabulary, and words in vocabulary",
            "  --min-score 0.95 keeps 0.0%                0    0.0%",
            "words by script, and in vocabulary",
            "  Latin                                      6   50.0%",
            "  Han                                        1  100.0%",
            "5 tags by text height in the whole image        median   8+ px  10+ px  12+ px  10+ px/image",
            "  scaled to 224 px                              4.0 px   20.0%    0.0%    0.0%           0.0",
            "  scaled to 336 px                              6.0 px   20.0%   20.0%   20.0%           0.2",
            "  scaled to 448 px                              8.0 px  100.0%   20.0%   20.0%           0.2",
            "  scaled to 672 px                             12.0 px  100.0%  100.0%  100.0%           1.2",
            "  scaled to 896 px                             16.0 px  100.0%  100.0%  100.0%           1.2",
            "crops chosen by their text, 4 images         tags/crop   8+ px  10+ px  12+ px   10+ px/crop",
            "  of 224 px                                        1.2  100.0%  100.0%  100.0%           1.2",
            "  of 336 px                                        1.2  100.0%  100.0%  100.0%           1.2",
            "  of 448 px                                        1.2  100.0%  100.0%  100.0%           1.2",
            "  of 672 px                                        1.2  100.0%  100.0%  100.0%           1.2",
            "  of 896 px                                        1.2  100.0%  100.0%  100.0%           1.2",
            "most frequent words left out",
            "           2  zzz",
            "           1  evil",
            "most frequent words in vocabulary: hello 2, you 1, 你好 1",
        ]
    )


def test_limits_slots_and_sizes(tmp_path: Path, write_shard: Callable[..., None]) -> None:
    words = [f"w{'x' * n}" for n in range(12)]  # more than the ten slots of the data set
    write_shard(tmp_path, 0, [[(" ".join(words), 0.95)], [("w 3d ok ok", 0.75), ("年 w", 0.85)], [("ok", 0.6)]])
    report = measure([tmp_path], [NamedVocabulary(name="v", vocabulary=Vocabulary([*words, "年"]))], workers=1)
    lines = format_table(report).splitlines()
    slots = lines.index("  with more of them than slots               1   33.3%")
    assert lines[slots + 1] == "    words without a slot                     2"
    # 19 words: 12 of w, wx ..., w 3d ok ok, 年 w, ok; ok is read three times and w three times.
    limits = lines.index("words kept; images with one in vocabulary, and words in vocabulary")
    assert lines[limits + 1 : limits + 7] == [
        "  --min-score 0.7 keeps 94.7%                2   83.3%",
        "  --min-score 0.8 keeps 73.7%                2  100.0%",
        "  --min-score 0.9 keeps 63.2%                1  100.0%",
        "  --min-score 0.95 keeps 63.2%               1  100.0%",
        "  --min-letters 2 keeps 78.9%                2   80.0%",
        "  --min-letters 3 keeps 57.9%                2  100.0%",
    ]


def test_given_text_without_scores_is_named(tmp_path: Path, write_shard: Callable[..., None]) -> None:
    write_shard(tmp_path, 0, [[("one two", 1.0)]])
    make_manifest([], vocabulary=Vocabulary(["word"]), engine="given").write(tmp_path / "manifest.json")
    report = measure([tmp_path], [NamedVocabulary(name="v", vocabulary=Vocabulary(["one"]))], workers=1)
    assert "  --min-score: keeps all, the text was given without scores" in format_table(report).splitlines()


def test_table_of_two_vocabularies_and_two_data_sets(tmp_path: Path, write_shard: Callable[..., None]) -> None:
    write(tmp_path / "a", write_shard)
    write(tmp_path / ("long" * 20), write_shard)
    report = measure(
        [tmp_path / "a", tmp_path / ("long" * 20)],
        [
            NamedVocabulary(name="a/long/path/of/a/vocabulary.txt", vocabulary=Vocabulary(["hello"])),
            NamedVocabulary(name="\x1b[31m", vocabulary=Vocabulary(["zzz", "evil"])),
        ],
        workers=1,
    )
    lines = format_table(report).splitlines()
    assert lines[0] == "…/a/vocabulary.txt".rjust(54) + r"\x1b[31m".rjust(20)
    assert lines[1] == "images                                      10                  10"
    assert "  in vocabulary                              4   28.6%           6   42.9%" in lines
    sets = lines.index("words by data set, and in vocabulary")
    assert lines[sets + 2] == "  …glonglonglonglonglonglonglong             7   28.6%           7   42.9%"
    heights = lines.index("tags of 10+ px by data set, scaled to   224 px  336 px  448 px  672 px  896 px")
    assert lines[heights + 3] == "  …onglonglonglonglonglong           5    0.0%   20.0%   20.0%  100.0%  100.0%"
    assert lines[heights + 4] == "    in crops chosen by their text       100.0%  100.0%  100.0%  100.0%  100.0%"
    assert lines[-3:] == [
        r"only in \x1b[31m: 2 words, 2 of them in these images, 6 times",
        "           4  zzz",
        "           2  evil",
    ]
    assert max(map(len, lines[:sets])) < 80


def test_table_of_an_empty_data_set(tmp_path: Path, write_shard: Callable[..., None]) -> None:
    write_shard(tmp_path, 0, [])
    report = measure([tmp_path], [NamedVocabulary(name="v", vocabulary=Vocabulary(["a"]))], workers=1)
    lines = format_table(report).splitlines()
    assert lines[-1] == "  found in these images                      0    0.0%"
