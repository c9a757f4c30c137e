from pathlib import Path

import pytest

from ovocr.base.errors import UsageError
from ovocr.labelgen.options import BuildOptions, RelabelOptions, parse_shard_slice


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sources": ()}, "SOURCE: at least one"),
        ({"executor": "cloud"}, "--executor cloud: there is local"),
        ({"precision": "int4"}, "--precision int4: there is float32, bfloat16"),
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
def test_an_impossible_value_names_its_option(wrong: dict, message: str):
    with pytest.raises(UsageError, match=message):
        BuildOptions(**{"sources": ("x.tar",), "out": Path("out"), **wrong})


def test_shard_slice_is_read():
    assert parse_shard_slice("2/8") == (2, 8)


@pytest.mark.parametrize("text", ["", "2", "2/", "/8", "a/b", "-1/8", "1/2/3", "²/8"])
def test_anything_else_is_no_shard_slice(text: str):
    with pytest.raises(UsageError, match="I/N is needed"):
        parse_shard_slice(text)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tags": 0}, "--tags 0"),
        ({"seed": -1}, "--seed -1"),
        ({"workers": 0}, "--workers 0"),
        ({"shard_slice": (3, 3)}, "--shard-slice 3/3"),
        ({"policy": "rare"}, "--policy rare: there is uniform, idf"),
        ({"idf": Path("f.tsv")}, "--idf f.tsv: is of no use without --policy idf"),
        ({"han": "old"}, "--han old: not one of as-read, simplified"),
        ({"out": Path("labels", "..", "labels")}, "--out .*: is the data set that is relabelled"),
    ],
)
def test_an_impossible_value_of_a_relabelling_names_its_option(wrong: dict, message: str):
    with pytest.raises(UsageError, match=message):
        RelabelOptions(**{"source": Path("labels"), "out": Path("out"), **wrong})


def test_an_impossible_policy_of_a_build_names_its_option():
    for wrong, message in (({"policy": "rare"}, "--policy rare"), ({"idf": Path("f.tsv")}, "--idf f.tsv")):
        with pytest.raises(UsageError, match=message):
            BuildOptions(sources=("x.tar",), out=Path("out"), **wrong)
