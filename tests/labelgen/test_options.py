from pathlib import Path

import pytest

from ovocr.base.errors import UsageError
from ovocr.labelgen.options import BuildOptions, RelabelOptions, parse_shard_slice


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sources": ()}, "SOURCE: at least one is required"),
        ({"executor": "cloud"}, "--executor cloud: must be one of local, ray"),
        ({"precision": "int4"}, "--precision int4: must be one of float32, bfloat16"),
        ({"workers": 0}, "--workers 0"),
        ({"tags": 0}, "--tags 0"),
        ({"shard_size": -1}, "--shard-size -1"),
        ({"max_pixels": 0}, "--max-pixels 0"),
        ({"seed": -1}, "--seed -1"),
        ({"image_timeout_s": 0.0}, "--image-timeout 0.0"),
        ({"image_timeout_s": float("nan")}, "--image-timeout nan"),
        ({"shard_slice": (3, 3)}, "--shard-slice 3/3"),
        ({"shard_slice": (0, 0)}, "--shard-slice 0/0"),
    ],
)
def test_a_disallowed_value_is_an_error_naming_the_option(wrong: dict, message: str):
    with pytest.raises(UsageError, match=message):
        BuildOptions(**{"sources": ("x.tar",), "out": Path("out"), **wrong})


def test_parse_shard_slice():
    assert parse_shard_slice("2/8") == (2, 8)


@pytest.mark.parametrize("text", ["", "2", "2/", "/8", "a/b", "-1/8", "1/2/3", "²/8"])
def test_parse_shard_slice_rejects_other_forms(text: str):
    with pytest.raises(UsageError, match="must be I/N"):
        parse_shard_slice(text)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tags": 0}, "--tags 0"),
        ({"seed": -1}, "--seed -1"),
        ({"workers": 0}, "--workers 0"),
        ({"shard_slice": (3, 3)}, "--shard-slice 3/3"),
        ({"policy": "rare"}, "--policy rare: must be one of uniform, idf"),
        ({"idf": Path("f.tsv")}, "--idf f.tsv: has no effect without --policy idf"),
        ({"han": "old"}, "--han old: not one of as-read, simplified"),
        ({"out": Path("labels", "..", "labels")}, "--out .*: is the data set to relabel"),
    ],
)
def test_a_disallowed_relabel_value_is_an_error_naming_the_option(wrong: dict, message: str):
    with pytest.raises(UsageError, match=message):
        RelabelOptions(**{"source": Path("labels"), "out": Path("out"), **wrong})


def test_a_disallowed_policy_of_a_build_is_an_error_naming_the_option():
    for wrong, message in (({"policy": "rare"}, "--policy rare"), ({"idf": Path("f.tsv")}, "--idf f.tsv")):
        with pytest.raises(UsageError, match=message):
            BuildOptions(sources=("x.tar",), out=Path("out"), **wrong)
