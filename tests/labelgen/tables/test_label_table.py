"""Tables of class ids: every kind of file and cell, and the errors for wrong ones."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ovocr.base.errors import OvocrError, UsageError
from ovocr.labelgen.tables import LabelTable

LIMIT = 2**24
WANTED = {"a/1.jpg": [3, 1, 2], "b.png": [7], "empty.jpg": []}


def load(path: Path | str, **options: Any) -> LabelTable:
    defaults = {"key_column": None, "label_columns": (), "num_classes": None, "limit": LIMIT}
    return LabelTable.load(str(path), **{**defaults, **options})


def parquet(file: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), file)
    return file


def write(path: Path, text: str) -> Path:
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def test_parquet_list_columns_of_any_type(tmp_path: Path):
    lists = [[3, 1, 3, 2], [7], []]
    keys = list(WANTED)
    for number, kind in enumerate([pa.int32(), pa.int64(), pa.uint8(), pa.uint64(), pa.float32(), pa.float64()]):
        for outer in (pa.list_, pa.large_list):
            table = load(parquet(tmp_path / f"{number}.parquet", key=keys, labels=pa.array(lists, outer(kind))))
            assert {key: table.ids(key) for key in keys} == WANTED
            assert (table.num_classes, table.columns.labels) == (8, ("labels",))
    table = load(parquet(tmp_path / "null.parquet", key=keys, labels=pa.array([[3, 1, 2], [7], None])))
    assert {key: table.ids(key) for key in keys} == WANTED
    fixed = pa.array([[1, 2], [0, 1], [3, 4]], pa.list_(pa.int64(), 2))
    table = load(parquet(tmp_path / "fixed.parquet", key=keys, labels=fixed))
    assert [table.ids(key) for key in keys] == [[1, 2], [0, 1], [3, 4]]
    texts = pa.array([["3", "1", "2"], ["7.0"], []])
    table = load(parquet(tmp_path / "texts.parquet", key=keys, labels=texts))
    assert {key: table.ids(key) for key in keys} == WANTED


def test_keys_of_all_types(tmp_path: Path):
    labels = [[1], [2], [3]]
    assert load(parquet(tmp_path / "int.parquet", key=[5, 17, 0], labels=labels)).ids("17") == [2]
    coded = pa.array(["x", "y", "x"]).dictionary_encode()
    table = load(parquet(tmp_path / "coded.parquet", key=coded, labels=labels))
    assert (table.ids("x"), table.ids("y")) == ([1, 3], [2])
    large = pa.array(["x", "y", "名\x1b.jpg"], pa.large_string())
    assert load(parquet(tmp_path / "large.parquet", key=large, labels=labels)).ids("名\x1b.jpg") == [3]
    if hasattr(pa, "string_view"):
        view = pa.array(["x", "y", "z"], pa.string_view())
        assert load(parquet(tmp_path / "view.parquet", key=view, labels=labels)).ids("y") == [2]


def test_rows_of_one_key_are_merged_in_table_order(tmp_path: Path):
    keys = ["b", "a", "a", "b", "c", "a", "b"]
    table = load(parquet(tmp_path / "t.parquet", key=keys, label=[9, 5, 4, 8, 0, 5, 7]))
    assert [table.ids(key) for key in "abcd"] == [[5, 4], [9, 8, 7], [0], []]
    assert table.keys.count([])[:2] == (3, 3)
    assert table.keys.count([pa.array(["a", "x"]), pa.array(["b", "b"])]) == (3, 1, ["c"])


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".csv.gz", ".tsv.gz"])
def test_text_tables(tmp_path: Path, ending: str):
    rows = [
        ("key", "other", "label"),
        ("0017", "x", '"3, 1;2 3"'),
        ('"with, comma.jpg"', "", "[ 7  8.0 ]"),
        ("c", "", ""),
        ("d", "", '"[1, 2,]"'),
    ]
    separator = "\t" if ending.startswith(".tsv") else ","
    table = load(write(tmp_path / f"t{ending}", "".join(separator.join(row) + "\n" for row in rows)))
    assert [table.ids(key) for key in ("0017", "with, comma.jpg", "c", "d", "17")] == [
        [3, 1, 2],
        [7, 8],
        [],
        [1, 2],
        [],
    ]
    assert table.num_classes == 9


@pytest.mark.parametrize("ending", [".jsonl", ".ndjson", ".jsonl.gz"])
def test_json_lines(tmp_path: Path, ending: str):
    rows = [
        {"key": "a/1.jpg", "labels": [3, 1, 2], "caption": "x"},
        {"labels": 7, "key": "b.png", "caption": 5},
        {"key": "2026-01-01", "labels": "4 5"},
        {"key": 12, "labels": [6.0, "8"]},
        {"key": "empty.jpg"},
        {"key": "null.jpg", "labels": None},
    ]
    table = load(write(tmp_path / f"t{ending}", "\n\n".join(map(json.dumps, rows)) + "\n"))
    keys = ["a/1.jpg", "b.png", "2026-01-01", "12", "empty.jpg", "null.jpg"]
    assert [table.ids(key) for key in keys] == [[3, 1, 2], [7], [4, 5], [6, 8], [], []]


def test_json_lines_of_one_type(tmp_path: Path):
    rows = [{"key": f"{n}.jpg", "labels": [n, n + 1]} for n in range(1000)]
    table = load(write(tmp_path / "t.jsonl", "\n".join(map(json.dumps, rows))))
    assert all(table.ids(f"{n}.jpg") == [n, n + 1] for n in range(1000))


def test_several_columns_of_ids(tmp_path: Path):
    text = "label_1,key,label_0,label_x,class_5\n1,a,2,9,9\n,b,3,,\n4 5,c,6,,\n"
    table = load(write(tmp_path / "t.csv", text))
    assert table.columns.labels == ("label_1", "label_0", "class_5")
    assert [table.ids(key) for key in "abc"] == [[1, 2, 9], [3], [4, 5, 6]]
    named = load(tmp_path / "t.csv", label_columns=("label_0", "label_1"))
    assert [named.ids(key) for key in "abc"] == [[2, 1], [3], [6, 4, 5]]
    ints, floats = pa.array([1, 2, 3]), pa.array([4.0, None, 6.0])
    table = load(parquet(tmp_path / "t.parquet", key=["a", "b", "c"], label0=ints, label1=floats))
    assert [table.ids(key) for key in "abc"] == [[1, 4], [2], [3, 6]]


def test_default_column_names_have_an_order_and_columns_can_be_named(tmp_path: Path):
    path = parquet(tmp_path / "t.parquet", key=["a"], labels=[1], label=[2], path=["x"], cluster=[3])
    assert load(path).ids("a") == [1]
    assert load(path, key_column="path", label_columns=("cluster",)).ids("x") == [3]


def test_a_folder_or_a_glob_of_tables_is_one_table(tmp_path: Path):
    parquet(tmp_path / "2.parquet", key=["a", "b"], labels=[[1], [2]])
    write(tmp_path / "10.csv", "key,labels\na,9\nc,4\n")
    write(tmp_path / "README.md", "")
    table = load(tmp_path)
    assert [table.ids(key) for key in "abc"] == [[9, 1], [2], [4]]
    assert load(tmp_path / "*.parquet").ids("a") == [1]
    assert len({table.sha256, load(tmp_path / "2.parquet").sha256, load(tmp_path / "10.csv").sha256}) == 3


def test_many_rows_in_several_batches(tmp_path: Path):
    rng = np.random.default_rng(0)
    keys, ids = rng.permutation(200_000), rng.integers(0, 1000, 200_000)
    text = "key,class\n" + "".join(f"{key % 150_000}.jpg,{id}\n" for key, id in zip(keys, ids, strict=True))
    expected: dict[str, dict[int, None]] = {}
    for key, id in zip(keys, ids, strict=True):
        expected.setdefault(f"{key % 150_000}.jpg", {})[int(id)] = None
    table = load(write(tmp_path / "t.csv", text))
    for key in list(expected)[::50]:
        assert table.ids(key) == list(expected[key])
    assert table.keys.count([pa.array(list(expected)[:1000])]) == (150_000, 149_000, list(expected)[1000:1003])
    copy = load(parquet(tmp_path / "t.parquet", key=[f"{key % 150_000}.jpg" for key in keys], labels=ids))
    assert all(copy.ids(key) == table.ids(key) for key in list(expected)[::500])


def test_hash_collisions_do_not_mix_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ovocr.labelgen.tables.key_index.hash", lambda key: len(key), raising=False)
    table = load(parquet(tmp_path / "t.parquet", key=["a", "b", "a", "cc"], label=[1, 2, 3, 4]))
    assert [table.ids(key) for key in ("a", "b", "cc", "x")] == [[1, 3], [2], [4], []]


def test_class_ids_must_be_below_num_classes(tmp_path: Path):
    path = parquet(tmp_path / "t.parquet", key=["a", "b"], labels=[[1], [LIMIT - 1]])
    assert load(path).num_classes == LIMIT
    with pytest.raises(OvocrError, match=rf"row 1 \(key 'b'\).*{LIMIT - 1} is not a class id; .* from 0 to 99$"):
        load(path, num_classes=100)
    with pytest.raises(OvocrError, match=rf"'{LIMIT}' is not a class id; must be an integer from 0 to {LIMIT - 1}"):
        load(write(tmp_path / "t.csv", f"key,label\na,{LIMIT}\n"))


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        ([[1], [2, -1, -3]], "-1"),
        ([[1], [2.5]], "2.5"),
        ([[1.0], [float("nan")]], "nan"),
        ([[1.0], [float("inf")]], "inf"),
        ([[1], [2**40]], str(2**40)),
        ([[1], [2**63 + 5]], str(2**63 + 5)),
        ([[1], [3, None]], "None"),
        ([1, -7], "-7"),
        ([1.0, 1.5], "1.5"),
        (["1", "2 x"], "'x'"),
        (["1", "-1"], "'-1'"),
        (["1", "1.5"], "'1.5'"),
        (["1", "1e3"], "'1e3'"),
        (["1", "0x10"], "'0x10'"),
        (["1", "٣"], "'٣'"),
        (["1", "9" * 30], f"'{'9' * 30}'"),
        ([["1"], ["\x1b[2J"]], r"'\x1b[2J'"),
    ],
)
def test_a_wrong_class_id_is_an_error_naming_row_and_key(tmp_path: Path, labels: list[Any], shown: str):
    types: list[Any] = [None, pa.list_(pa.uint64())] if shown == str(2**63 + 5) else [None]
    path = parquet(tmp_path / "t.parquet", key=["a", "b.jpg"], labels=pa.array(labels, types[-1]))
    with pytest.raises(OvocrError) as error:
        load(path)
    assert str(error.value) == (
        f"{path}: row 1 (key 'b.jpg'): column 'labels': {shown} "
        f"is not a class id; must be an integer from 0 to {LIMIT - 1}"
    )
    assert error.value.exit_code == 1


@pytest.mark.parametrize("value", [True, {"id": 1}, [[1]], -1, 1.5, "x", [1, "y"], [1, None], 10**30, float("nan")])
def test_a_wrong_class_id_in_json_is_an_error(tmp_path: Path, value: Any):
    rows = [{"key": "a", "labels": [1]}, {"key": "b", "labels": value}]
    with pytest.raises(OvocrError, match=r"t\.jsonl: row 1 \(key 'b'\): column 'labels': .* is not a class id"):
        load(write(tmp_path / "t.jsonl", "\n".join(map(json.dumps, rows))))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "path,cluster\na,1\n", "no column 'key'; name it with --key-column; its columns: path, cluster"),
        (
            "t.csv",
            "key,cluster\na,1\n",
            r"no column of class ids \(labels, label, .*--label-column; its columns: key, cl",
        ),
        ("t.csv", "key,key,label\na,b,1\n", "has two columns 'key'; rename one"),
        ("t.jsonl", '{"k": 1}\n', "no column 'key'; name it with --key-column; its columns: k$"),
        ("t.jsonl", "{}", "its columns: none"),
        ("t.txt", "", "unknown kind of table; allowed: .parquet, .csv"),
        ("t.parquet.gz", "", "unknown kind of table"),
    ],
)
def test_missing_columns_are_a_usage_error(tmp_path: Path, name: str, text: str, message: str):
    path = write(tmp_path / name, text)
    with pytest.raises(UsageError, match=rf"^--labels {path}: .*{message}"):
        load(path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "", "this table has no row$"),
        ("t.csv", "key,label\na,1,2\n", "cannot be read: CSV parse error: .*Expected 2 columns, got 3"),
        ("t.csv", "key,label\n", "has no class id"),
        ("t.csv", "key,label\na,\n", "has no class id"),
        ("t.parquet", "no parquet at all", "cannot be read: .*[Pp]arquet"),
        ("t.jsonl", '{"key": "a", "label": 1}\n\n{"key": \n', "line 3: not JSON"),
        ("t.csv", 'key,label\na,1\nb,"2\nc,3\n', "row 1: a field begins with a quotation mark that is not closed"),
        ("t.csv", "key,label\na,1\n,2\n", "row 1.*: column 'key': the key is missing"),
        ("t.jsonl", '{"key": "\\ud800", "label": 1}\n', "row 0: column 'key': the key is '.ud800', which is not text"),
        ("t.jsonl", "[1, 2]\n", r"line 1: expected a JSON object, found '\[1, 2\]"),
        ("t.jsonl", '{"key": "a", "label": 1}\n{"label": 2}\n', "row 1: column 'key': the key is missing"),
        ("t.jsonl", '{"key": 1.5, "label": 1}\n', "row 0: column 'key': the key is 1.5; must be text or an integer"),
    ],
)
def test_a_broken_table_is_a_one_line_error(tmp_path: Path, name: str, text: str, message: str):
    path = write(tmp_path / name, text)
    with pytest.raises(OvocrError, match=f"^{path}: .*{message}") as error:
        load(path)
    assert error.value.exit_code == 1
    assert "\n" not in str(error.value)


def test_other_mistakes_are_one_line_errors(tmp_path: Path):
    with pytest.raises(UsageError, match=r"none\.csv: no such file or folder$"):
        load(tmp_path / "none.csv")
    with pytest.raises(UsageError, match=r"\*\.csv: no table found"):
        load(tmp_path / "*.csv")
    with pytest.raises(UsageError, match="no table found; allowed: .parquet"):
        load(tmp_path)
    (tmp_path / "latin.csv").write_bytes(b"key,label\n\xff,1\n")
    with pytest.raises(OvocrError, match=r"latin\.csv: not UTF-8; save the table as UTF-8$"):
        load(tmp_path / "latin.csv")
    (tmp_path / "latin.jsonl").write_bytes(b'{"key": "\xff", "label": 1}\n')
    with pytest.raises(OvocrError, match=r"latin\.jsonl: not UTF-8; save the table as UTF-8$"):
        load(tmp_path / "latin.jsonl")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"key,label\n" + b"a,1\n" * 100_000)[:-20])
    with pytest.raises(OvocrError, match=r"cut\.csv\.gz: this table cannot be read: "):
        load(tmp_path / "cut.csv.gz")
    path = parquet(tmp_path / "t.parquet", key=["a", None], labels=[[1], [2]], when=[b"x", b"y"])
    with pytest.raises(OvocrError, match=r"t\.parquet: row 1: column 'key': the key is missing"):
        load(path)
    with pytest.raises(
        OvocrError, match=r"t\.parquet: column 'when': keys are of type binary; must be text or integers"
    ):
        load(path, key_column="when")
    parquet(tmp_path / "u.parquet", key=["a"], when=[b"x"])
    with pytest.raises(
        OvocrError, match=r"column 'when': class ids are of type binary; must be integers, lists of integers"
    ):
        load(tmp_path / "u.parquet", label_columns=("when",))
    with pytest.raises(UsageError, match="column 'key' is named twice for keys and class ids"):
        load(tmp_path / "u.parquet", label_columns=("key",))
    (tmp_path / "several").mkdir()
    write(tmp_path / "several" / "a.csv", "key,label\na,1\n")
    write(tmp_path / "several" / "b.csv", "key,class\nb,1\n")
    with pytest.raises(UsageError, match=r"several/b\.csv: no column 'label'; .* its columns: key, class"):
        load(tmp_path / "several")
