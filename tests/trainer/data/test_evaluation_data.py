"""Choosing the heads that match the evaluation data."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ovocr.base.errors import OvocrError, UsageError
from ovocr.dataset.layout import LabelledDataSet, OldFormatError
from ovocr.trainer.data.evaluation_data import HeadClasses, choose_heads
from ovocr.trainer.data.stored.vocabularies import vocabulary_sha256
from tests.manifests import make_manifest
from tests.old_format import make_old

RUN = Path("run")


@pytest.fixture
def data(tmp_path: Path, make_data_set: Callable[..., Path]) -> dict[str, Path]:
    """Writes data of words, of other words, of 20 class ids, and a list of videos."""
    words, others, numbers = make_data_set("words", [2]), make_data_set("others", [2], words=["a", "b"]), tmp_path / "n"
    make_data_set("n", [2])
    (numbers / "vocab.txt").unlink()
    make_manifest(["source.tar"], num_classes=20).write(numbers / "manifest.json")
    (tmp_path / "list.txt").write_text("a.mp4 1\n")
    return {"words": words, "others": others, "numbers": numbers, "list": tmp_path / "list.txt"}


@pytest.fixture
def heads(data: dict[str, Path]) -> dict[str, HeadClasses]:
    sha256 = vocabulary_sha256(LabelledDataSet.open(data["words"]))
    return {
        "ocr": HeadClasses("ocr", 50, sha256),
        "again": HeadClasses("ocr", 50, sha256),
        "image": HeadClasses("image", 20, ""),
        "small": HeadClasses("image", 19, ""),
        "video": HeadClasses("video", 400, ""),
    }


@pytest.mark.parametrize(
    ("names", "wanted", "chosen"),
    [
        (["words"], None, ["ocr", "again"]),
        (["words", "words"], None, ["ocr", "again"]),
        (["words"], "again", ["again"]),
        (["numbers"], None, ["image"]),
        (["list"], None, ["video"]),
        (["list"], "video", ["video"]),
    ],
)
def test_matching_heads_are_chosen(
    data: dict[str, Path], heads: dict[str, HeadClasses], names: list[str], wanted: str | None, chosen: list[str]
) -> None:
    assert choose_heads(RUN, heads, [data[name] for name in names], wanted) == chosen


@pytest.mark.parametrize(
    ("names", "wanted", "message"),
    [
        (["others"], "ocr", r"/others: its vocabulary \(\w{12}…\) is not the run's .* \(head ocr\)$"),
        (["words", "others"], "ocr", r"/others: its vocabulary \(\w{12}…\) is not the run's"),
        (["words"], "image", "/words: its tags are words, but the head's are class ids without words"),
        (["numbers"], "ocr", "/n: its tags are class ids without words, but the head's are words"),
        (["numbers"], "small", "/n: it has 20 classes, but the head has 19"),
        (["words"], "video", "/words: not a file; heads of kind video need lists of videos"),
        (["list"], "image", "list.txt: a file; heads of kind image need labelled data sets, which are folders"),
        (
            ["others"],
            None,
            "^run: no head matches the data: ocr: .*/others: .*; again: .*; image: .*; small: .*; video: .*",
        ),
        (["words", "numbers"], None, "^run: no head matches the data: ocr: .*/n: .*; image: .*/words: "),
    ],
)
def test_error_says_why_no_head_matches(
    data: dict[str, Path], heads: dict[str, HeadClasses], names: list[str], wanted: str | None, message: str
) -> None:
    with pytest.raises(OvocrError, match=message):
        choose_heads(RUN, heads, [data[name] for name in names], wanted)


def test_labelled_data_of_format_2_are_refused(data: dict[str, Path], heads: dict[str, HeadClasses]) -> None:
    for name in ("words", "numbers"):
        make_old(data[name], rows=False)
    with pytest.raises(OldFormatError, match="/words: format 2; make a data set of format 3 from its stored text"):
        choose_heads(RUN, heads, [data["words"]], None)
    assert choose_heads(RUN, heads, [data["numbers"]], None) == ["image"]


def test_missing_head_or_data_raises(tmp_path: Path, heads: dict[str, HeadClasses]) -> None:
    with pytest.raises(UsageError, match="--head: 'clip' is not a head of this run; it has ocr, again, image, small"):
        choose_heads(RUN, heads, [tmp_path], "clip")
    with pytest.raises(OvocrError, match=r"none: not a labelled data set \(no manifest.json\)"):
        choose_heads(RUN, heads, [tmp_path / "none"], None)
