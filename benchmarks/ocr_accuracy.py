"""Word precision and recall of a data set's stored OCR, compared with transcriptions.

    python benchmarks/ocr_accuracy.py DIR TRUTH_FOLDER [--worst N] [--json FILE]

DIR is a labelled data set. TRUTH_FOLDER has NNN.txt for an image whose key ends in NNN.jpg (any image extension). Words
are compared as multisets after NFKC and case folding, split at non-word characters. Precision is the share of the words
read that are in the transcription, recall the share of the transcription's words that were read, over all images. An
image with a transcription and without OCR counts as one with no word read.
"""

import argparse
import json
import re
import sys
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.parquet as pq

from ovocr.base.errors import OvocrError
from ovocr.dataset.layout import LabelledDataSet


@dataclass(frozen=True)
class Score:
    """Numbers of words of one or more images: read, transcribed, and in both."""

    key: str
    read: int
    transcribed: int
    matched: int

    @property
    def precision(self) -> float:
        return self.matched / self.read if self.read else 0.0

    @property
    def recall(self) -> float:
        return self.matched / self.transcribed if self.transcribed else 0.0

    @property
    def f1(self) -> float:
        return 2 * self.matched / (self.read + self.transcribed) if self.matched else 0.0

    def to_json(self) -> dict[str, Any]:
        figures = {name: round(getattr(self, name), 4) for name in ("precision", "recall", "f1")}
        return {"key": self.key, "read": self.read, "transcribed": self.transcribed, **figures}


def words_of(text: str) -> Counter[str]:
    """Returns the words of a text as a multiset."""
    return Counter(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def read_texts(data_set: LabelledDataSet) -> list[tuple[str, str]]:
    """Returns key and text of each image of the data set; the text of an image that was not read is empty."""
    texts = []
    for shard in data_set.finished_shards():
        ocr = iter(pq.read_table(data_set.ocr_path(shard), columns=["lines"]).column("lines").to_pylist())
        for row in pq.read_table(data_set.records_path(shard), columns=["key", "status"]).to_pylist():
            lines = [] if row["status"] == "quarantined" else next(ocr)
            texts.append((row["key"], "\n".join(line["text"] for line in lines)))
    return texts


def score_images(texts: list[tuple[str, str]], truth_folder: Path) -> list[Score]:
    """Returns one score for each image with a transcription."""
    scores = []
    for key, text in texts:
        truth_path = truth_folder / f"{PurePosixPath(key).stem}.txt"
        if truth_path.is_file():
            read, truth = words_of(text), words_of(truth_path.read_text(encoding="utf-8"))
            scores.append(Score(key, read.total(), truth.total(), (read & truth).total()))
    return scores


def total_score(scores: list[Score]) -> Score:
    """Returns the score of all images together."""
    return Score(
        "all",
        sum(score.read for score in scores),
        sum(score.transcribed for score in scores),
        sum(score.matched for score in scores),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_set", type=Path, metavar="DIR")
    parser.add_argument("truth", type=Path, metavar="TRUTH_FOLDER")
    parser.add_argument("--worst", type=int, default=5, help="images to list, worst first")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    try:
        texts = read_texts(LabelledDataSet.open(arguments.data_set))
    except OvocrError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    scores = score_images(texts, arguments.truth)
    if not scores:
        print(f"error: {arguments.truth}: has no NNN.txt for any image of {arguments.data_set}", file=sys.stderr)
        return 1
    total = total_score(scores)
    print(f"{len(scores)} images with a transcription, {len(texts) - len(scores)} without")
    for score in [total, *sorted(scores, key=lambda score: score.f1)[: arguments.worst]]:
        print(
            f"{score.key:>12}  precision {score.precision:.4f}  recall {score.recall:.4f}"
            f"  words read {score.read}, transcribed {score.transcribed}"
        )
    if arguments.json:
        report = {"total": total.to_json(), "pictures": [score.to_json() for score in scores]}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
