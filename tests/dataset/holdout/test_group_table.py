"""Tables of groups: every kind of file, images without a row, and one-line errors."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ovocr.base.errors import OvocrError, UsageError
from ovocr.dataset.holdout.group_table import GroupTable

ROWS = [("a/1.jpg", "shop 1"), ("b, c.jpg", "shop 2"), ("0017", "shop 1"), ("咖啡.jpg", "shop 2")]


def write(path: Path, rows: list[tuple[Any, Any]] = ROWS) -> Path:
    if path.suffix == ".parquet":
        keys, groups = zip(*rows, strict=True)
        pq.write_table(pa.table({"other": range(len(rows)), "group": groups, "key": keys}), path)
    elif path.suffix in (".jsonl", ".ndjson"):
        path.write_text("".join(json.dumps({"key": key, "group": group, "x": [1]}) + "\n" for key, group in rows))
    else:
        separator = "," if path.suffix == ".csv" else "\t"
        path.write_text("".join(f'"{key}"{separator}{group}\n' for key, group in [("key", "group"), *rows]))
    return path


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"])
def test_images_of_a_group_share_its_number(tmp_path: Path, kind: str) -> None:
    table = GroupTable(write(tmp_path / f"t{kind}"))
    assert len(table) == 2
    found = table.of_images(["0017", "b, c.jpg", "x.jpg", "咖啡.jpg", "a/1.jpg", "x.jpg"]).tolist()
    assert found[:2] + found[3:5] == [0, 1, 1, 0]
    assert found[2] >= 2  # images without a row are a group each, even if their keys are the same
    assert found[5] >= 2
    assert found[2] != found[5]


@pytest.mark.parametrize("kind", [".jsonl", ".parquet"])
def test_integers_are_texts(tmp_path: Path, kind: str) -> None:
    table = GroupTable(write(tmp_path / f"t{kind}", [(17, 3), (18, 4), (19, 3)]))
    assert table.of_images(["17", "18", "19"]).tolist() == [0, 1, 0]


def test_repeated_row_is_allowed(tmp_path: Path) -> None:
    assert len(GroupTable(write(tmp_path / "t.csv", [("a", "1"), ("a", "1")]))) == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "1"), ("b", "1"), ("a", "2")], "key 'a' has two groups, '1' and '2'"),
        ([], "this table has no row"),
        ([("a", "1"), ("", "2")], "row 1: column 'key' is empty"),
        ([("a", ""), ("b", "2")], "row 0: column 'group' is empty"),
    ],
)
def test_wrong_rows_raise(tmp_path: Path, rows: list[tuple[str, str]], message: str) -> None:
    path = write(tmp_path / "t.csv", rows)
    with pytest.raises(OvocrError) as error:
        GroupTable(path)
    assert str(error.value) == f"--groups {path}: {message}"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "t.csv",
            b"key,shop\na,1\n",
            "has no column 'group'; needed are the columns 'key' and 'group', it has 'key', 'shop'",
        ),
        ("t.jsonl", b'{"key": "a", "group": 1.5}\n', "column 'group' is of type double; must be text or integers"),
        ("t.jsonl", b'{"key": ["a"], "group": 1}\n', "column 'key' is of type list<item: string>; must be text"),
        ("t.jsonl", b'{"key": "a"', "this table cannot be read: "),
        ("t.csv", b"", "this table cannot be read: "),
        ("t.csv", b"key,group\n\xff\xfe,1\n", "this table cannot be read: "),
        ("t.csv", b"key,group\na,1,2\n", "this table cannot be read: "),
        ("t.parquet", b"PAR1", "this table cannot be read: "),
    ],
)
def test_unreadable_table_raises_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OvocrError) as error:
        GroupTable(tmp_path / name)
    assert str(error.value).startswith(f"--groups {tmp_path / name}: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.csv", "no such file"), ("folder.csv", "not a file"), ("t.xlsx", "unknown kind of table; allowed: .csv, ")],
)
def test_wrong_path_is_wrong_usage(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UsageError, match=message):
        GroupTable(tmp_path / name)


def test_table_without_any_key_of_the_images_raises(tmp_path: Path) -> None:
    table = GroupTable(write(tmp_path / "t.csv"))
    with pytest.raises(OvocrError, match=r"no image has a row: an image's key is '1.jpg', the table's first is 'a/1.j"):
        table.of_images(["1.jpg", "2.jpg"])


def test_other_column_of_groups(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("key,shop,group\na,003,1\nb,4,1\n")
    table = GroupTable(tmp_path / "t.csv", column="shop")
    assert (table.of_image("a"), table.of_image("b"), table.of_image("c")) == ("003", "4", None)
