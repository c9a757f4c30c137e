"""The lines of an evaluation in a terminal."""

from dataclasses import replace
from pathlib import Path

from ovocr.trainer.evaluation.evaluate import Evaluation, HeadEvaluation
from ovocr.trainer.evaluation.head_reading import DataSetReading, HeadReading
from ovocr.trainer.evaluation.head_recall import HeadRecall
from ovocr.trainer.evaluation.recall import GroupRecall
from ovocr.trainer.evaluation.terminal_report import format_evaluation
from ovocr.trainer.evaluation.training_prior import TrainedOn
from ovocr.trainer.prior.image_sketch import Overlap
from tests.trainer.evaluation.figures import NO_FIGURES, figures, word_measures

RECALL = HeadRecall(
    images=3,
    classes=365187,
    training_images=1000,
    embedding_dim=192,
    effective_rank=12.5,
    every=GroupRecall(3, 30, {1: 0.5, 10: 0.75}, {1: 0.0, 10: 0.125}),
    scripts={"Latin": GroupRecall(2, 20, {1: 0.25, 10: 0.5}, {1: 0.0, 10: 0.125})},
    bands={"1,000+": GroupRecall(1, 10, {1: 1.0, 10: 1.0}, {1: 0.0, 10: 0.125})},
)
READING = DataSetReading(word_measures(images=3), None)


def evaluation(reading: HeadReading, crops: int = 0) -> Evaluation:
    return Evaluation(
        run=Path("run"),
        data=(Path("a"),),
        step=400,
        checkpoint="0",
        top_k=(1, 10),
        crops=crops,
        groups=None,
        min_text_height=8.0,
        replicates=1000,
        seed=0,
        heads={"ocr": HeadEvaluation(128, RECALL, reading, TrainedOn(()))},
    )


def test_all_lines() -> None:
    assert format_evaluation(evaluation(HeadReading(READING, {}))).splitlines() == [
        "ocr: word AUC 0.812 (0.790 to 0.833), mean over 31 classes, words of at least 8 px, on 3 images",
        "ocr: word mAP 0.231 (0.210 to 0.255), chance: 0.043",
        "ocr: tag recall@10 0.750 over all 365,187 centers, on 3 images (always the 10 most frequent training tags: "
        "0.125)",
        "  embeddings: effective rank 12.5 of 192",
        "  tags                           images      pairs    recall@1 (prior)   recall@10 (prior)",
        "  all                                 3         30       0.500 (0.000)       0.750 (0.125)",
        "  script: Latin                       2         20       0.250 (0.000)       0.500 (0.125)",
        "  training images: 1,000+             1         10       1.000 (0.000)       1.000 (0.125)",
        "  words                         classes                 word AUC                 word mAP   chance",
        "  text height: 6-8 px                 5   0.600 (0.500 to 0.700)   0.231 (0.210 to 0.255)    0.043",
        "  text height: 8-12 px                9   0.812 (0.790 to 0.833)   0.231 (0.210 to 0.255)    0.043",
        "  text height: unknown                7                    0.900   0.231 (0.210 to 0.255)    0.043",
        "  script: Latin                      31   0.812 (0.790 to 0.833)   0.231 (0.210 to 0.255)    0.043",
        "  training images: never              2   0.812 (0.790 to 0.833)   0.231 (0.210 to 0.255)    0.043",
    ]


def test_several_data_sets_are_named_and_the_mixture_comes_last() -> None:
    other = DataSetReading(word_measures(images=9, every=figures(0.9, None, None, 1)), 4)
    lines = format_evaluation(evaluation(HeadReading(READING, {"a": READING, "b\x1b[2J": other}), crops=2)).splitlines()
    assert lines[:7] == [
        "ocr on a: word AUC 0.812 (0.790 to 0.833), mean over 31 classes, words of at least 8 px, on 3 crops",
        "ocr on a: word mAP 0.231 (0.210 to 0.255), chance: 0.043",
        r"ocr on b\x1b[2J: word AUC 0.900, mean over 1 class, words of at least 8 px, on 9 crops",
        r"ocr on b\x1b[2J: word mAP 0.231 (0.210 to 0.255), chance: 0.043",
        "  intervals over 9 groups; 4 images without a group",
        "ocr on all data sets, mixed: word AUC 0.812 (0.790 to 0.833), mean over 31 classes, words of at least 8 px, "
        "on 3 crops",
        "ocr on all data sets, mixed: word mAP 0.231 (0.210 to 0.255), chance: 0.043",
    ]
    titles = [line for line in lines if line.startswith("  words ")]
    assert [line[98:] for line in titles] == ["   a", r"   b\x1b[2J", "   all data sets, mixed"]


def test_without_eligible_classes_there_is_no_table() -> None:
    words = word_measures(images=3, every=NO_FIGURES)
    words = replace(
        words, by_text_height=dict.fromkeys(words.by_text_height, NO_FIGURES), by_script={}, by_frequency={}
    )
    lines = format_evaluation(evaluation(HeadReading(DataSetReading(words, None), {}))).splitlines()
    assert lines[0] == (
        "ocr: no word AUC: no word has 5 images with it in text of at least 8 pixels and 5 without; "
        "lower --min-text-height, or take more images"
    )
    assert lines[1].startswith("ocr: tag recall@10")
    assert not [line for line in lines if line.startswith("  words ")]


def test_images_that_were_trained_on_are_named_first() -> None:
    trained_on = TrainedOn((Overlap(2_000, 2_000, 1),))
    head = HeadEvaluation(128, RECALL, HeadReading(READING, {}), trained_on)
    lines = format_evaluation(replace(evaluation(HeadReading(READING, {})), heads={"ocr": head})).splitlines()
    assert lines[0] == "ocr: trained on 1 of 2,000 images: not how well it reads new images"
