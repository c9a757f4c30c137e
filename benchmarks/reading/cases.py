"""The runs of the reading experiment: the main run, and the cases of the ablation, which differ in one choice each."""

from collections.abc import Sequence
from dataclasses import dataclass

# Text heights, in pixels of the input: of the crops with surroundings, and of single words, which are as long as the
# input is wide.
HEIGHTS = (16.0, 64.0)
WORD_HEIGHTS = (64.0, 128.0)
LEGIBLE = 8.0
BATCH = 128  # samples of a step
_LEGIBLE_TAGS = (f"heads.ocr.min_text_height={LEGIBLE}",)
_CROPS = (f"heads.ocr.crop_text_height={list(HEIGHTS)}", *_LEGIBLE_TAGS)
_WORDS = (f"heads.ocr.crop_text_height={list(WORD_HEIGHTS)}", "heads.ocr.crop_context=[0.0, 0.0]", *_LEGIBLE_TAGS)
_CURRICULUM = (
    *(*_CROPS, "heads.ocr.crop_context=[0.0, 1.0]"),
    *(f"heads.ocr.crop_text_height_start={list(WORD_HEIGHTS)}", "heads.ocr.crop_context_start=[0.0, 0.0]"),
    "heads.ocr.crop_text_height_steps={schedule}",
)
_SAMPLED = ("heads.ocr.sample_rate=0.1",)
_SOFT = ('heads.ocr.objective="soft"',)
_SCALE_64, _MARGIN = ("heads.ocr.margin.scale=64.0",), ("heads.ocr.margin.m2=0.5",)


@dataclass(frozen=True)
class Case:
    """A run.

    name: of its folder. choice: the choice that it belongs to, and what was chosen. settings: what differs from
    reading.toml; {schedule} is the number of steps of the curriculum. seeds: number of runs.
    """

    name: str
    choice: str
    chosen: str
    settings: Sequence[str]
    seeds: int = 1


MAIN = Case("main", "main run", "", _CURRICULUM)
BASE = Case("base", "base", "curriculum, slots, exact, scale 16 without margin, 8 tags", _CURRICULUM, seeds=2)
ABLATION = (
    BASE,
    Case("whole-all-tags", "input", "whole tiles, all tags", ()),
    Case("whole-legible-tags", "input", "whole tiles, legible tags", _LEGIBLE_TAGS),
    Case("crops", "input", "crops with all their surroundings", _CROPS, seeds=2),
    Case("words", "input", "words alone", _WORDS),
    Case("soft", "objective", "soft", (*_CURRICULUM, *_SOFT), seeds=2),
    Case("two-sided", "objective", "two_sided", (*_CURRICULUM, 'heads.ocr.objective="two_sided"')),
    Case("none", "negatives", "10% drawn, none", (*_CURRICULUM, *_SAMPLED), seeds=2),
    Case(
        "importance",
        "negatives",
        "10% drawn, importance",
        (*_CURRICULUM, *_SAMPLED, 'heads.ocr.negative_weight="importance"'),
        seeds=2,
    ),
    Case("scale-64", "margin", "scale 64 without margin", (*_CURRICULUM, *_SCALE_64)),
    Case("arcface-16", "margin", "scale 16, ArcFace 0.5", (*_CURRICULUM, *_MARGIN)),
    Case("arcface", "margin", "scale 64, ArcFace 0.5", (*_CURRICULUM, *_SCALE_64, *_MARGIN)),
    Case("no-norm", "embedding_norm", "none", (*_CURRICULUM, 'heads.ocr.embedding_norm="none"')),
    Case("1-tag", "tags drawn", "1", (*_CURRICULUM, "heads.ocr.labels_per_sample=1")),
    Case("4-tags", "tags drawn", "4", (*_CURRICULUM, "heads.ocr.labels_per_sample=4")),
    Case("soft-all-tags", "tags drawn", "all (soft)", (*_CURRICULUM, *_SOFT, 'heads.ocr.labels_per_sample="all"')),
    Case(
        "published",
        "published",
        "whole tiles, all tags, 10% drawn for each slot, scale 64, ArcFace 0.5, no embedding_norm",
        (*_SAMPLED, *_SCALE_64, *_MARGIN, 'heads.ocr.sampling="independent"', 'heads.ocr.embedding_norm="none"'),
    ),
)
