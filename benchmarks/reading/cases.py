"""The runs of the reading experiment: the main run, and the cases of the ablation, which differ in one choice each."""

from collections.abc import Sequence
from dataclasses import dataclass

# Text heights of crops, in training and evaluation: pixels of the input. Letters are about half as high.
HEIGHTS = (12.0, 48.0)
LEGIBLE = 8.0
_LEGIBLE_TAGS = (f"heads.ocr.min_text_height={LEGIBLE}",)
_CROPS = (f"heads.ocr.crop_text_height={list(HEIGHTS)}", *_LEGIBLE_TAGS)
_SAMPLED = ("heads.ocr.sample_rate=0.1",)
_SOFT = ('heads.ocr.objective="soft"',)
_ARCFACE = ("heads.ocr.margin.scale=64.0", "heads.ocr.margin.m2=0.5")


@dataclass(frozen=True)
class Case:
    """A run.

    name: of its folder. choice: the choice that it belongs to, and what was chosen. settings: what differs from
    reading.toml. seeds: number of runs.
    """

    name: str
    choice: str
    chosen: str
    settings: Sequence[str]
    seeds: int = 1


MAIN = Case("main", "main run", "", _CROPS)
BASE = Case("base", "base", "crops, slots, exact, scale 16 without margin, 8 tags", _CROPS, seeds=2)
ABLATION = (
    BASE,
    Case("whole-all-tags", "input", "whole tiles, all tags", (), seeds=2),
    Case("whole-legible-tags", "input", "whole tiles, legible tags", _LEGIBLE_TAGS, seeds=2),
    Case(
        "curriculum",
        "input",
        "crops, large words first",
        (*_CROPS, "heads.ocr.crop_text_height_start=[32.0, 96.0]", "heads.ocr.crop_text_height_steps={half}"),
    ),
    Case("soft", "objective", "soft", (*_CROPS, *_SOFT)),
    Case("two-sided", "objective", "two_sided", (*_CROPS, 'heads.ocr.objective="two_sided"')),
    Case("none", "negatives", "10% drawn, none", (*_CROPS, *_SAMPLED)),
    Case(
        "importance",
        "negatives",
        "10% drawn, importance",
        (*_CROPS, *_SAMPLED, 'heads.ocr.negative_weight="importance"'),
    ),
    Case("arcface", "margin", "scale 64, ArcFace 0.5", (*_CROPS, *_ARCFACE)),
    Case("1-tag", "tags drawn", "1", (*_CROPS, "heads.ocr.labels_per_sample=1")),
    Case("4-tags", "tags drawn", "4", (*_CROPS, "heads.ocr.labels_per_sample=4")),
    Case("soft-all-tags", "tags drawn", "all (soft)", (*_CROPS, *_SOFT, 'heads.ocr.labels_per_sample="all"')),
    Case(
        "published",
        "published",
        "whole tiles, all tags, 10% drawn for each slot, scale 64, ArcFace 0.5, no embedding_norm",
        (*_SAMPLED, *_ARCFACE, 'heads.ocr.sampling="independent"', 'heads.ocr.embedding_norm="none"'),
    ),
)
