"""Word counts of images and their file."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from ovocr.dataset.text import ImageText
from ovocr.vocab import Segmentation
from ovocr.vocab.counting import COUNTS, WordCounts

CountWords = Callable[..., WordCounts]
IMAGES = [ImageText("a.jpg", ["Hello hello", "well"]), ImageText("b.jpg", []), ImageText("c.jpg", ["zoo hello 乾淨"])]


def test_add_counts_tokens_images_and_examples(count_words: CountWords) -> None:
    counts = count_words(IMAGES, Segmentation())
    assert counts == WordCounts(
        images=3,
        images_without_text=1,
        tokens={"hello": 3, "well": 1, "zoo": 1, "乾淨": 1},
        in_images={"hello": 2, "well": 1, "zoo": 1, "乾淨": 1},
        examples={"hello": "a.jpg", "well": "a.jpg", "zoo": "c.jpg", "乾淨": "c.jpg"},
    )


def test_add_returns_the_words_of_the_image() -> None:
    assert WordCounts().add(IMAGES[0], ["hello", "well", "hello"]) == {"hello": 2, "well": 1}


def test_add_uses_the_segmentation(count_words: CountWords) -> None:
    assert "干净" in count_words(IMAGES, Segmentation(han="simplified")).tokens


def test_file_is_sorted_by_bytes(tmp_path: Path, count_words: CountWords) -> None:
    counts = count_words([ImageText("k", ["\U0001d4d0b z é \ue000 \uff21 \U00020000 中 a"])], Segmentation())
    counts.write(tmp_path / "counts.parquet")
    table = pq.read_table(tmp_path / "counts.parquet")
    assert table.schema == COUNTS
    words = table["word"].to_pylist()
    assert len(words) > 5
    assert [word.encode() for word in words] == sorted(word.encode() for word in words)
    assert table["example"].to_pylist() == ["k"] * len(words)
