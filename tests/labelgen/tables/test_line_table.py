"""Tables of lines: every accepted form of files and cells, and the errors for wrong ones."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ovocr.base.errors import OvocrError, UsageError
from ovocr.dataset.schemas import OCR
from ovocr.labelgen.tables import LineTable

BOX = [10, 20, 110, 20, 110, 40, 10, 40]
AS_BOX = tuple(map(float, BOX))
POINTS = [[10, 20], [110, 20], [110, 40], [10, 40]]
SIDES = [10, 20, 110, 40]
# A line as a tuple: text, score, box, edges.
FOX, DOG = ("the fox", 0.75, AS_BOX, ()), ("lazy dog", 1.0, None, ())


def load(path: Path | str, key_column: str | None = None) -> LineTable:
    return LineTable.load(str(path), key_column=key_column)


def lines(table: LineTable, key: str) -> list[tuple[Any, ...]] | None:
    found = table.lines(key)
    return None if found is None else [(line.text, line.score, line.box, line.edges) for line in found]


def texts(table: LineTable, key: str) -> list[str] | None:
    found = table.lines(key)
    return None if found is None else [line.text for line in found]


def write(path: Path, text: str) -> Path:
    data = text.encode("utf-8", "surrogatepass")
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def json_lines(path: Path, *rows: Any) -> Path:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


# --- forms of a table


ROW_PER_LINE = [
    {"key": "a.jpg", "text": "the fox", "box": BOX, "score": 0.75},
    {"key": "a.jpg", "text": "lazy dog"},
    {"key": "b.jpg", "text": None, "box": BOX},
]
ROW_PER_IMAGE = [
    {"key": "a.jpg", "lines": [{"text": "the fox", "box": BOX, "score": 0.75}, {"text": "lazy dog"}]},
    {"key": "b.jpg", "lines": [{"text": None, "box": BOX}]},
]


def check(table: LineTable) -> None:
    assert lines(table, "a.jpg") == [FOX, DOG]
    assert lines(table, "b.jpg") == []
    assert table.lines("c.jpg") is None
    assert (table.without_text, table.without_box) == (1, 1)
    assert table.keys.count([])[:2] == (2, 2)


@pytest.mark.parametrize("rows", [ROW_PER_LINE, ROW_PER_IMAGE])
@pytest.mark.parametrize("ending", [".parquet", ".jsonl", ".ndjson", ".jsonl.gz", ".json", ".json.gz"])
def test_a_row_per_line_and_a_row_per_image_are_the_same(tmp_path: Path, rows: list[Any], ending: str):
    path = tmp_path / f"t{ending}"
    if ending == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif ".jsonl" in ending or ".ndjson" in ending:
        write(path, "\n\n".join(map(json.dumps, rows)))
    else:
        write(path, json.dumps(rows, indent=1))
    table = load(path)
    check(table)
    assert table.columns.text == ("text" if rows is ROW_PER_LINE else "lines")


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".csv.gz"])
def test_a_row_per_line_in_csv(tmp_path: Path, ending: str):
    rows = [
        ("key", "score", "text", "box"),
        ("a.jpg", "0.75", "the fox", '"10, 20; 110 20, [110, 40] (10 40)"'),
        ("a.jpg", "", "lazy dog", ""),
        ("b.jpg", "", "", "1 2 3 4"),
    ]
    separator = "\t" if ending.startswith(".tsv") else ","
    check(load(write(tmp_path / f"t{ending}", "".join(separator.join(row) + "\n" for row in rows))))


def test_a_json_object_maps_keys_to_lines(tmp_path: Path):
    document = {
        "a.jpg": [{"text": "the fox", "box": BOX, "score": 0.75}, "lazy dog"],
        "b.jpg": [None],
        "c.jpg": "one\n\ntwo\n",
        "d.jpg": None,
        "e.jpg": [],
        "f.jpg": ["1", "2\r\n3"],
    }
    table = load(write(tmp_path / "t.json", json.dumps(document)))
    assert lines(table, "a.jpg") == [FOX, DOG]
    assert [texts(table, f"{name}.jpg") for name in "bcdefg"] == [[], ["one", "two"], [], [], ["1", "2", "3"], None]
    assert table.without_text == 1


def test_lines_may_be_plain_texts_or_missing(tmp_path: Path):
    cells = [["the fox", " lazy dog "], None, [], ["", None, "x"]]
    expected = [["the fox", "lazy dog"], [], [], ["x"], None]
    for number, kind in enumerate([pa.string(), pa.large_string()]):
        for outer in (pa.list_, pa.large_list):
            path = tmp_path / f"{number}.parquet"
            table = load(parquet(path, key=list("abcd"), lines=pa.array(cells, outer(kind))))
            assert [texts(table, key) for key in "abcde"] == expected
    rows = [{"key": key, "lines": cell} for key, cell in zip("abcd", cells, strict=True)]
    table = load(json_lines(tmp_path / "t.jsonl", *rows))
    assert [texts(table, key) for key in "abcde"] == expected
    assert (table.without_text, table.without_box) == (2, 3)


def test_a_text_with_line_breaks_is_several_lines(tmp_path: Path):
    page = "first\r\nsecond\n\n \t\nthird\x0cnext page\u2028last\n"
    wanted = ["first", "second", "third", "next page", "last"]
    for path in (
        parquet(tmp_path / "t.parquet", key=["a", "b"], text=[page, "x"]),
        json_lines(tmp_path / "t.jsonl", {"key": "a", "text": page}, {"key": "b", "text": "x"}),
        write(tmp_path / "t.csv", f'key,text\na,"{page}"\nb,x\n'),
        json_lines(tmp_path / "u.jsonl", {"key": "a", "lines": page}, {"key": "b", "lines": ["x"]}),
        parquet(tmp_path / "u.parquet", key=["a", "b"], lines=[page, "x"]),
    ):
        table = load(path)
        assert [texts(table, key) for key in "ab"] == [wanted, ["x"]], path
        assert table.without_text == 0


def test_scores_stay_with_their_lines_if_some_texts_have_line_breaks(tmp_path: Path):
    rows = [("a", "1\n2", 0.1), ("a", "", 0.2), ("a", "3", 0.3), ("b", "4\n", 0.4)]
    rows = [dict(zip(("key", "text", "score"), row, strict=True)) for row in rows]
    table = load(json_lines(tmp_path / "t.jsonl", *rows))
    assert [(line.text, line.score) for key in "ab" for line in table.lines(key)] == [
        *(("1", 0.1), ("2", 0.1), ("3", 0.3), ("4", 0.4))
    ]


def test_a_text_with_a_box_may_end_with_a_line_break(tmp_path: Path):
    table = load(json_lines(tmp_path / "t.jsonl", {"key": "a", "text": " the fox \n", "box": BOX, "score": 0.75}))
    assert lines(table, "a") == [FOX]


def test_rows_of_one_key_are_its_lines_in_table_order(tmp_path: Path):
    keys, values = ["b", "a", "a", "b", "c", "a"], ["1", "2", "3", "4", "5", "6"]
    table = load(parquet(tmp_path / "t.parquet", key=keys, text=values))
    assert [texts(table, key) for key in "abcd"] == [["2", "3", "6"], ["1", "4"], ["5"], None]
    assert table.keys.count([pa.array(["a", "x"])]) == (3, 2, ["b", "c"])
    assert table.keys.first() == "b"


def test_the_text_of_a_data_set_is_a_table(tmp_path: Path):
    """The ocr table of build-labels, with its types and with the edges of characters."""
    stored = [
        {"text": "fox ", "score": 0.9876, "box": BOX, "edges": [0.0, 0.25, 0.5, 0.9, 1.0]},
        {"text": "dog", "score": 0.5, "box": [0.0, 0.0, 99.99, 0.0, 99.99, 9.5, 0.0, 9.5], "edges": []},
    ]
    rows = [
        {"key": "a.jpg", "width": 200, "height": 100, "lines": stored},
        {"key": "b.jpg", "width": 200, "height": 100, "lines": []},
        {"key": "a.jpg", "width": 200, "height": 100, "lines": stored},
    ]
    (tmp_path / "ocr").mkdir()
    pq.write_table(pa.Table.from_pylist(rows, OCR), tmp_path / "ocr" / "00000.parquet")
    table = load(tmp_path / "ocr")
    assert lines(table, "a.jpg") == [
        ("fox ", 0.9876, AS_BOX, (0.0, 0.25, 0.5, 0.9, 1.0)),
        ("dog", 0.5, (0.0, 0.0, 99.99, 0.0, 99.99, 9.5, 0.0, 9.5), ()),
    ]
    assert lines(table, "b.jpg") == []
    assert table.keys.count([])[:2] == (2, 2)


def test_equal_keys_of_a_json_object_are_rows(tmp_path: Path):
    path = write(tmp_path / "t.json", '{"a": ["x"], "b": [], "a": ["y"]}')
    with pytest.raises(OvocrError) as error:
        load(path)
    assert str(error.value) == (
        f"{path}: key 'a' has several rows with different lines; with a column 'lines', "
        "all lines of an image are in one row"
    )
    assert texts(load(write(tmp_path / "u.json", '{"a": ["x"], "b": [], "a": ["x"]}')), "a") == ["x"]


def test_several_files_are_one_table(tmp_path: Path):
    parquet(tmp_path / "2.parquet", key=["a", "b"], text=["3", "4"], box=[BOX, None])
    write(tmp_path / "10.csv", "key,text\na,1\nc,2\n")
    write(tmp_path / "README.md", "")
    table = load(tmp_path)
    assert [texts(table, key) for key in "abc"] == [["1", "3"], ["4"], ["2"]]
    assert [line.box for line in table.lines("a")] == [None, AS_BOX]
    assert texts(load(tmp_path / "*.parquet"), "a") == ["3"]
    assert len({table.sha256, load(tmp_path / "2.parquet").sha256, load(tmp_path / "10.csv").sha256}) == 3


def test_a_column_may_be_absent_from_the_first_rows_of_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ovocr.labelgen.tables.files._JSON_ROWS_SEEN", 1)
    rows = [{"key": "a", "text": "x"}, {"key": "b", "text": "the fox", "box": BOX, "score": 0.75}]
    assert lines(load(json_lines(tmp_path / "t.jsonl", *rows)), "b") == [FOX]


def test_many_rows_in_several_batches(tmp_path: Path):
    rng = np.random.default_rng(0)
    keys = [f"{number // 3}.jpg" for number in range(30_000)]
    boxes = np.cumsum(rng.integers(2, 99, (30_000, 4)), axis=1)[:, [0, 1, 2, 3]]
    boxes = [[left, top, left + width, top + height] for left, top, width, height in boxes.tolist()]
    boxes = [None if number % 5 == 0 else box for number, box in enumerate(boxes)]
    values = ["" if number % 7 == 0 else f"line {number}" for number in range(30_000)]
    scores = rng.random(30_000).round(4)
    table = load(parquet(tmp_path / "t.parquet", key=keys, text=values, box=boxes, score=scores))
    copies = [
        {"text": text, "box": box, "score": score} for text, box, score in zip(values, boxes, scores, strict=True)
    ]
    nested = [copies[start : start + 3] for start in range(0, 30_000, 3)]
    of_images = load(
        json_lines(tmp_path / "t.jsonl", *({"key": f"{n}.jpg", "lines": cell} for n, cell in enumerate(nested)))
    )
    for image in range(0, 10_000, 37):
        wanted = []
        for number in range(image * 3, image * 3 + 3):
            if values[number]:
                left, top, right, bottom = boxes[number] or SIDES
                box = (left, top, right, top, right, bottom, left, bottom)
                wanted.append((values[number], scores[number], box if boxes[number] else None, ()))
        assert lines(table, f"{image}.jpg") == wanted
        assert lines(of_images, f"{image}.jpg") == wanted
    assert (table.without_text, table.keys.count([])[0]) == (len(range(0, 30_000, 7)), 10_000)
    assert (of_images.without_text, of_images.without_box) == (table.without_text, table.without_box)


def test_hash_collisions_do_not_mix_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ovocr.labelgen.tables.key_index.hash", lambda key: len(key), raising=False)
    table = load(parquet(tmp_path / "t.parquet", key=["a", "b", "a", "cc"], lines=[["1"], ["2"], ["1"], ["4"]]))
    assert [texts(table, key) for key in ("a", "b", "cc", "x")] == [["1"], ["2"], ["4"], None]


# --- cells


@pytest.mark.parametrize(
    "box",
    [
        BOX,
        POINTS,
        SIDES,
        [float(value) for value in BOX],
        [10.0, 20, 110.0, 40],
        [[float(x), float(y)] for x, y in POINTS],
    ],
)
def test_boxes_in_every_form(tmp_path: Path, box: Any):
    rows = [{"key": "a", "text": "x", "box": box}, {"key": "b", "text": "y", "box": None}]
    for path in (json_lines(tmp_path / "t.jsonl", *rows), write(tmp_path / "t.json", json.dumps(rows))):
        table = load(path)
        assert [table.lines(key)[0].box for key in "ab"] == [AS_BOX, None]
    table = load(parquet(tmp_path / "t.parquet", key=["a", "b"], text=["x", "y"], box=[box, None]))
    assert [table.lines(key)[0].box for key in "ab"] == [AS_BOX, None]
    nested = [[{"text": "x", "box": box}, {"text": "y", "box": None}], [None, {"text": "z", "box": box}]]
    table = load(parquet(tmp_path / "n.parquet", key=["a", "b"], lines=nested))
    assert [[line.box for line in table.lines(key)] for key in "ab"] == [[AS_BOX, None], [AS_BOX]]
    assert table.without_text == 1
    text = json.dumps(box)
    table = load(parquet(tmp_path / "u.parquet", key=["a", "b", "c"], text=["x", "y", "z"], box=[text, "", None]))
    assert [table.lines(key)[0].box for key in "abc"] == [AS_BOX, None, None]


def test_boxes_of_different_forms_in_one_column(tmp_path: Path):
    boxes = [SIDES, None, BOX, POINTS, "10 20 110 40", ""]
    rows = [{"key": str(number), "text": "x", "box": box} for number, box in enumerate(boxes)]
    table = load(json_lines(tmp_path / "t.jsonl", *rows))
    assert [table.lines(str(number))[0].box for number in range(6)] == [AS_BOX, None, AS_BOX, AS_BOX, AS_BOX, None]
    column = pa.array([SIDES, None, BOX], pa.list_(pa.int32()))
    table = load(parquet(tmp_path / "t.parquet", key=["0", "1", "2"], text=["x"] * 3, box=column))
    assert [table.lines(str(number))[0].box for number in range(3)] == [AS_BOX, None, AS_BOX]
    fixed = pa.array([None, BOX, None, BOX], pa.list_(pa.float64(), 8))
    table = load(parquet(tmp_path / "f.parquet", key=["0", "1", "2", "3"], text=["x", "x", "", "x"], box=fixed))
    assert [[line.box for line in table.lines(str(number))] for number in range(4)] == [[None], [AS_BOX], [], [AS_BOX]]


def test_numbers_keep_the_decimals_of_the_format(tmp_path: Path):
    box = [0.123456, 1.005, 30000.337, 1.005, 30000.337, 9.999, 0.123456, 9.999]
    row = {"key": "a", "text": "x", "box": box, "score": 0.123456, "edges": [0.00006, 0.99996]}
    (line,) = load(json_lines(tmp_path / "t.jsonl", row)).lines("a")
    assert line.box == (0.12, 1.0, 30000.34, 1.0, 30000.34, 10.0, 0.12, 10.0)
    assert (line.score, line.edges) == (0.1235, (0.0001, 1.0))


@pytest.mark.parametrize("score", [0, 1, 0.5, "0.5", " 1 ", None, ""])
def test_scores(tmp_path: Path, score: Any):
    wanted = 1.0 if score in (None, "") else float(score)
    row = {"key": "a", "text": "x", "score": score}
    other = {"key": "b", "text": "y", "score": 0.25}
    table = load(json_lines(tmp_path / "t.jsonl", row, other))
    assert [table.lines(key)[0].score for key in "ab"] == [wanted, 0.25]
    assert load(parquet(tmp_path / "t.parquet", key=["a"], text=["x"], score=[score])).lines("a")[0].score == wanted


def test_keys_of_all_types_and_a_named_key_column(tmp_path: Path):
    assert texts(load(parquet(tmp_path / "int.parquet", key=[5, 17], text=["a", "b"])), "17") == ["b"]
    assert texts(load(json_lines(tmp_path / "t.jsonl", {"key": 17, "text": "b"})), "17") == ["b"]
    assert texts(load(write(tmp_path / "t.csv", "file,text\n0017,b\n"), key_column="file"), "0017") == ["b"]
    coded = pa.array(["x", "y", "x"]).dictionary_encode()
    table = load(parquet(tmp_path / "coded.parquet", key=coded, text=pa.array(list("abc")).dictionary_encode()))
    assert (texts(table, "x"), texts(table, "y")) == (["a", "c"], ["b"])


def test_a_line_without_text_is_left_out_whatever_its_other_fields_are(tmp_path: Path):
    rows = [
        {"key": "a", "text": None, "box": [1], "score": 9},
        {"key": "a", "text": " \u3000\t", "edges": [5]},
        {"key": "a", "text": "x"},
    ]
    table = load(json_lines(tmp_path / "t.jsonl", *rows))
    assert (texts(table, "a"), table.without_text) == (["x"], 2)
    only = load(json_lines(tmp_path / "u.jsonl", *rows[:2]))
    assert (only.lines("a"), only.without_text, only.without_box) == ([], 2, 0)


# --- errors


WRONG_BOXES = [
    (
        [1, 2, 3],
        r"\[1.0, 2.0, 3.0\] is not a box; it must have 8 numbers \(x1, y1 ... x4, y4\), 4 points, or 4 numbers",
    ),
    ([], r"\[\] is not a box"),
    ([*BOX, 1], "is not a box"),
    ([[1, 2], [3, 4]], r"\[\[1, 2\], \[3, 4\]\] is not four points"),
    ([[1, 2, 3], [3, 4], [5, 6], [7, 8]], "is not four points"),
    ([110, 20, 10, 40], "is not left, top, right, bottom; it looks like x, y, width, height"),
    ([100, 300, 50, 20], "looks like x, y, width, height"),
    ([20, 20, 10, 40], "looks like x, y, width, height"),
    ([1, 2, 3, 1e39], "its numbers must be finite pixels"),
]


@pytest.mark.parametrize(
    ("box", "read"),
    [
        # Counter-clockwise from the top left, and from the bottom right.
        ([10, 20, 10, 40, 110, 40, 110, 20], (10, 20, 110, 20, 110, 40, 10, 40)),
        ([110, 40, 110, 20, 10, 20, 10, 40], (110, 40, 10, 40, 10, 20, 110, 20)),
        # Without area: one image's matter, not the table's.
        ([5, 5, 5, 5, 5, 5, 5, 5], (5, 5, 5, 5, 5, 5, 5, 5)),
        ([10, 20, 10, 40], (10, 20, 10, 20, 10, 40, 10, 40)),
    ],
)
def test_corners_are_put_in_the_order_of_a_box(tmp_path: Path, box: list[int], read: tuple[int, ...]):
    (line,) = load(json_lines(tmp_path / "t.jsonl", {"key": "a", "text": "x", "box": box})).lines("a") or ()
    assert line.box == read


@pytest.mark.parametrize(("box", "message"), WRONG_BOXES)
def test_a_wrong_box_is_an_error_naming_file_row_and_key(tmp_path: Path, box: Any, message: str):
    rows = [{"key": "a", "text": "x", "box": None}, {"key": "b", "text": None}, {"key": "c", "text": "y", "box": box}]
    paths = [json_lines(tmp_path / "t.jsonl", *rows), write(tmp_path / "t.json", json.dumps(rows))]
    paths.append(parquet(tmp_path / "t.parquet", key=list("abc"), text=["x", None, "y"], box=[None, None, box]))
    for path in paths:
        with pytest.raises(OvocrError, match=rf"^{path}: row 2 \(key 'c'\): column 'box': .*{message}") as error:
            load(path)
        assert (error.value.exit_code, "\n" in str(error.value)) == (1, False)
    cell = [{"text": ""}, {"text": "y", "box": box}]
    nested = [{"key": "a", "lines": None}, {"key": "b", "lines": cell}]
    paths = [
        json_lines(tmp_path / "n.jsonl", *nested),
        parquet(tmp_path / "n.parquet", key=["a", "b"], lines=[None, cell]),
    ]
    for path in paths:
        with pytest.raises(OvocrError, match=rf"^{path}: row 1 \(key 'b'\): column 'lines': line 1: box: .*{message}"):
            load(path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": 5}, "column 'text': 5 is not text"),
        ({"text": ["x"]}, r"column 'text': \['x'\] is not text"),
        ({"text": "\ud800"}, "column 'text': '.ud800' is not text: it has a lone surrogate"),
        ({"text": "x", "box": "1 2 x 4"}, "column 'box': 'x' in '1 2 x 4' is not a number"),
        ({"text": "x", "box": "1 2 nan 4"}, "column 'box': 'nan' in .* is not a number"),
        ({"text": "x", "box": 7}, "column 'box': 7 is not a list of numbers"),
        ({"text": "x", "box": {"x": 1}}, r"column 'box': \{'x': 1\} is not a list of numbers"),
        ({"text": "x", "box": [1, 2, None, 4]}, "column 'box': None in .* is not a number"),
        ({"text": "x", "box": [1, 2, True, 4]}, "column 'box': True in .* is not a number"),
        (
            {"text": "x", "box": [1, 2, float("nan"), 4]},
            r"column 'box': \[1.0, 2.0, nan, 4.0\] is not a box; its numbers must be finite",
        ),
        ({"text": "x", "box": [1, 2, 10**400, 4]}, "column 'box': .*its numbers must be finite pixels"),
        ({"text": "x", "score": 1.5}, "column 'score': 1.5 is not a score; must be from 0 to 1"),
        ({"text": "x", "score": -0.1}, "column 'score': -0.1 is not a score"),
        ({"text": "x", "score": 97}, "column 'score': 97 is not a score; must be from 0 to 1"),
        ({"text": "x", "score": float("nan")}, "column 'score': nan is not a number"),
        ({"text": "x", "score": "high"}, "column 'score': 'high' is not a number"),
        ({"text": "x", "score": True}, "column 'score': True is not a number"),
        ({"text": "x\ny", "box": BOX}, r"column 'text': 'x.ny' has several lines but one box; give each line its own"),
        ({"text": "xy", "box": BOX, "edges": [0, 1]}, "column 'edges': 2 edges for 'xy'; a text of n characters has n"),
        ({"text": "x", "box": BOX, "edges": [1, 0]}, "column 'edges': edges must be ascending fractions from 0 to 1"),
        ({"text": "x", "box": BOX, "edges": [0, 5]}, "column 'edges': edges must be ascending fractions"),
        ({"text": "x", "edges": [0, 1]}, "column 'edges': edges are fractions of a box, but the line has none"),
        ({"lines": 5}, "column 'lines': 5 is not a list of lines"),
        ({"lines": {"text": "x"}}, r"column 'lines': \{'text': 'x'\} is not a list of lines"),
        ({"lines": ["x", 5]}, "column 'lines': line 1: 5 is not an object with 'text' or a text"),
        ({"lines": ["x", {"text": 5}]}, "column 'lines': line 1: text: 5 is not text"),
        ({"lines": ["", "x", {"text": "y", "score": 2}]}, "column 'lines': line 2: score: 2 is not a score"),
    ],
)
def test_a_wrong_cell_of_json_is_an_error_naming_file_row_and_key(tmp_path: Path, row: Any, message: str):
    first = {"key": "a", "lines": ["z"]} if "lines" in row else {"key": "a", "text": "z"}
    path = json_lines(tmp_path / "t.jsonl", first, {"key": "b", **row})
    with pytest.raises(OvocrError, match=rf"^{path}: row 1 \(key 'b'\): {message}") as error:
        load(path)
    assert (error.value.exit_code, "\n" in str(error.value)) == (1, False)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": [5.5]}, "column 'text': values are of type double; must be text"),
        ({"text": ["x"], "box": [5.5]}, "column 'box': values are of type double; must be lists of numbers"),
        ({"text": ["x"], "box": [[True] * 4]}, r"column 'box': values are of type list<.*bool>; must be lists of"),
        ({"text": ["x"], "score": [[1.0]]}, "column 'score': values are of type list<.*; must be numbers"),
        ({"text": ["x"], "score": [float("nan")]}, r"row 0 \(key 'a'\): column 'score': nan is not a number"),
        ({"text": ["x"], "score": ["1,5"]}, r"row 0 \(key 'a'\): column 'score': '1,5' is not a number"),
        ({"text": ["x"], "box": [[1, 2, None, 4]]}, r"row 0 \(key 'a'\): column 'box': .* finite pixels"),
        ({"lines": [5.5]}, "column 'lines': values are of type double; must be lists of lines"),
        ({"lines": [[5.5]]}, "column 'lines': text: values are of type double; must be text"),
        ({"lines": [[{"word": "x", "box": [1]}]]}, "column 'lines': its lines have no field 'text'; their fields: "),
        (
            {"lines": [[{"text": "x", "box": 5}]]},
            r"row 0 \(key 'a'\): column 'lines': line 0: box: 5 is not a list of numbers",
        ),
    ],
)
def test_a_wrong_column_of_parquet_is_an_error(tmp_path: Path, columns: Any, message: str):
    path = parquet(tmp_path / "t.parquet", key=["a"], **columns)
    with pytest.raises(OvocrError, match=rf"^{path}: {message}"):
        load(path)


def test_objects_of_which_none_has_a_text_are_an_error(tmp_path: Path):
    rows = [{"key": str(number), "lines": [{"description": "x", "box": BOX}]} for number in range(10_000)]
    rows[1]["lines"] = [{"transcription": "y"}, None, "z"]
    path = json_lines(tmp_path / "t.jsonl", *rows)
    message = "column 'lines': its lines have no field 'text'; their fields: description, box, transcription$"
    with pytest.raises(OvocrError, match=rf"^{path}: {message}"):
        load(path)
    with pytest.raises(OvocrError, match="column 'lines': its lines have no field 'text'; their fields: word$"):
        load(write(tmp_path / "t.json", json.dumps({"a": [{"word": "x"}]})))
    rows[-1]["lines"] = [{"word": "x"}, {"text": "y"}]
    table = load(json_lines(path, *rows))
    assert (texts(table, "9999"), table.without_text) == (["y"], 10_001)


def test_bytes_that_are_not_utf8_are_an_error(tmp_path: Path):
    broken = pa.array([b"fine", b"caf\xe9"]).view(pa.string())
    path = parquet(tmp_path / "t.parquet", key=["a", "b"], text=broken)
    with pytest.raises(OvocrError, match=r"row 1 \(key 'b'\): column 'text': b'caf.xe9' is not UTF-8"):
        load(path)
    path = parquet(tmp_path / "u.parquet", key=broken, text=["a", "b"])
    with pytest.raises(OvocrError, match=r"row 1: column 'key': b'caf.xe9' is not UTF-8"):
        load(path)


def test_boxes_in_fractions_of_the_image_are_an_error(tmp_path: Path):
    rows = [{"key": "a", "text": "x", "box": [0.1, 0.1, 1.0, 0.2]}, {"key": "b", "text": "y"}]
    with pytest.raises(OvocrError, match="boxes are in pixels, not fractions of the image"):
        load(json_lines(tmp_path / "t.jsonl", *rows))
    rows[1]["box"] = SIDES
    assert load(json_lines(tmp_path / "u.jsonl", *rows)).lines("b")[0].box == AS_BOX


@pytest.mark.parametrize(
    "box",
    [
        [23, 58, 356, 58, 22, 111, 356, 111],  # its signed area is below 0
        [23, 58, 356, 58, 24, 111, 356, 111],
        [10, 20, 110, 40, 110, 20, 10, 40],
    ],
)
def test_a_box_whose_corners_cross_keeps_their_order(tmp_path: Path, box: list[int]):
    path = json_lines(tmp_path / "t.jsonl", {"key": "a", "text": "x", "box": box})
    assert load(path).lines("a")[0].box == tuple(map(float, box))


def test_boxes_beyond_the_top_left_of_the_image_are_no_fractions(tmp_path: Path):
    path = json_lines(tmp_path / "t.jsonl", {"key": "a", "text": "x", "box": [-100, -100, -10, -40]})
    assert load(path).lines("a")[0].box == (-100, -100, -10, -100, -10, -40, -100, -40)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "path,text\na,x\n", "no column 'key'; name it with --key-column; its columns: path, text"),
        (
            "t.csv",
            "key,word\na,x\n",
            r"no column 'lines' \(a row per image\) or 'text' \(a row per line\); its columns: key",
        ),
        ("t.csv", "key,lines\na,x\n", "a column 'lines' needs Parquet or JSON; give a row and 'text' for each line"),
        (
            "t.jsonl",
            '{"key": "a", "text": "x", "lines": []}',
            "has a column 'lines' and a column 'text'; remove or rename",
        ),
        ("t.csv", "key,text,text\na,b,c\n", "has two columns 'text'; rename one"),
        ("t.jsonl", '{"text": "x"}', "no column 'key'"),
        ("t.json", '[{"text": "x"}]', "no column 'key'; name it with --key-column; its columns: text"),
        ("t.json", "[{}]", "no column 'key'; .*; its columns: none"),
        ("t.txt", "", "unknown kind of table; allowed: .parquet, .json, .jsonl, .ndjson, .csv or .tsv"),
    ],
)
def test_missing_columns_are_a_usage_error(tmp_path: Path, name: str, text: str, message: str):
    path = write(tmp_path / name, text)
    with pytest.raises(UsageError, match=rf"^--lines {path}: .*{message}") as error:
        load(path)
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "text", "column"),
    [
        ("t.csv", "key,text,box\na,x,\n", "text"),
        ("t.csv", "key,text,box\na,x,\n", "box"),
        ("t.jsonl", '{"key": "a", "text": "x"}', "text"),
        ("t.json", '{"a": "x"}', "lines"),
    ],
)
def test_a_column_of_lines_for_keys_is_a_usage_error(tmp_path: Path, name: str, text: str, column: str):
    path = write(tmp_path / name, text)
    message = f"column '{column}' is named for keys and is the '{column}' of lines; name another column with --key"
    with pytest.raises(UsageError, match=f"^--lines {path}: {message}"):
        load(path, key_column=column)


def test_a_row_per_image_may_have_its_key_in_a_column_named_like_a_field(tmp_path: Path):
    path = json_lines(tmp_path / "t.jsonl", {"box": 7, "lines": ["x"]})
    assert texts(load(path, key_column="box"), "7") == ["x"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "key,text\na,b,c\n", "cannot be read: CSV parse error: .*Expected 2 columns, got 3"),
        (
            "t.tsv",
            'key\ttext\na\t"x\nb\t"\n',
            r"row 0 \(key 'a'\): column 'text': 'x\\nb\\t' begins with a quotation mark that is not closed",
        ),
        ("t.csv", "key,text\n,x\n", "row 0: column 'key': the key is missing"),
        ("t.parquet", "no parquet", "cannot be read: .*[Pp]arquet"),
        ("t.jsonl", '{"key": "a", "text": "x"}\n{"key', "line 2: not JSON"),
        ("t.jsonl", '["a"]', "line 1: expected a JSON object"),
        (
            "t.json",
            '{"key": "a"}\n{"key": "b"}\n',
            "not JSON: Extra data.*; a file with one object per line is named .jsonl",
        ),
        ("t.json", '[{"key": "a", ', "not JSON: "),
        ("t.json", "[" * 100_000, "not JSON: "),
        ("t.json", '"x"', "expected a list of objects, or an object that maps keys to lines"),
        ("t.json", '[{"key": "a", "text": "x"}, "y"]', "row 1: expected a JSON object, found 'y'"),
        ("t.json", '{"key": "a.jpg", "text": "x"}', "this object is one row; put rows into a list$"),
        ("t.json", '{"lines": ["x"], "key": "a.jpg"}', "this object is one row; put rows into a list$"),
        ("t.json", '{"a": 5}', r"row 0 \(key 'a'\): column 'lines': 5 is not a list of lines"),
        ("t.json", '{"": ["x"]}', "row 0: column 'key': the key is missing"),
    ],
)
def test_a_broken_table_is_a_one_line_error(tmp_path: Path, name: str, text: str, message: str):
    path = write(tmp_path / name, text)
    with pytest.raises(OvocrError, match=f"^{path}: .*{message}") as error:
        load(path)
    assert (error.value.exit_code, "\n" in str(error.value)) == (1, False)


def test_other_mistakes_are_one_line_errors(tmp_path: Path):
    with pytest.raises(UsageError, match=r"^--lines .*none\.json: no such file or folder$"):
        load(tmp_path / "none.json")
    with pytest.raises(UsageError, match=r"^--lines s3://bucket/t\.json: must be on a disk; copy it there first$"):
        load("s3://bucket/t.json")
    with pytest.raises(UsageError, match=r"\*\.json: no table found; allowed: .parquet, .json"):
        load(tmp_path / "*.json")
    parquet(tmp_path / "a.parquet", key=["a"], text=["x"])
    parquet(tmp_path / "b.parquet", key=["a"], lines=[["x"]])
    with pytest.raises(
        UsageError, match=r"b\.parquet: has a column 'lines', but the table's first file has 'text'; all"
    ):
        load(tmp_path)
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(OvocrError, match=r"latin\.json: not UTF-8; save the table as UTF-8$"):
        load(tmp_path / "latin.json")


@pytest.mark.parametrize(
    ("rows", "place"),
    [
        ('a,x\nb,"Hello\nc,Hi\n', "row 1"),
        ('a,x\n\nb,"Hello\nc,"Hi\nd,y\n', "row 1"),  # the number of quotation marks is even
        ('"a,x\nb,y\n', "row 0"),
        ('a,"one\ntwo"\nb,"Hello" she said\n', "row 1"),
        ('a,"' + "x,y\n" * 5_000_000, "row 0"),
    ],
)
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".csv.gz"])
def test_a_quotation_mark_that_is_not_closed_is_an_error(tmp_path: Path, rows: str, place: str, ending: str):
    text = f"key,text\n{rows}"
    path = write(tmp_path / f"t{ending}", text.replace(",", "\t") if ending == ".tsv" else text)
    with pytest.raises(OvocrError, match=rf"^{path}: {place}: a field begins with a quotation mark that is not closed"):
        load(path)


def test_quotation_marks_inside_a_field_are_kept(tmp_path: Path):
    page = "line\n" * 50_000
    path = write(tmp_path / "t.csv", f'key,text\n"a",5" pipe\nb,"6"" pipe"\nc,"{page}"\n')
    table = load(path)
    assert [texts(table, key) for key in "ab"] == [['5" pipe'], ['6" pipe']]
    assert texts(table, "c") == ["line"] * 50_000


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        *((ending, "") for ending in (".parquet", ".csv", ".tsv", ".json", ".jsonl", ".ndjson")),
        *((ending, "\n") for ending in (".csv", ".json", ".jsonl")),
        *((ending, "") for ending in (".csv.gz", ".json.gz", ".jsonl.gz")),
        *((".json", text) for text in ("{}", "[]")),
        (".csv", "key,text\n"),
    ],
)
def test_a_table_without_rows_is_an_error(tmp_path: Path, ending: str, text: str):
    path = write(tmp_path / f"t{ending}", text)
    with pytest.raises(OvocrError, match=rf"^{path}: this table has no row$"):
        load(path)


def test_hidden_files_of_a_folder_are_skipped(tmp_path: Path):
    write(tmp_path / "t.csv", "key,text\na,x\n")
    write(tmp_path / "._t.csv", "no table")
    assert texts(load(tmp_path), "a") == ["x"]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.json", "t.jsonl"])
@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_table_that_is_not_utf8_is_an_error(tmp_path: Path, name: str, encoding: str):
    (tmp_path / name).write_bytes("key,text\nä,ö\n".encode(encoding))
    with pytest.raises(OvocrError, match=rf"^{tmp_path / name}: not UTF-8; save the table as UTF-8$"):
        load(tmp_path / name)


def test_texts_of_hostile_content_are_kept(tmp_path: Path):
    hostile = "<script>\x1b[2J\u202e\x00 名"
    table = load(json_lines(tmp_path / "t.jsonl", {"key": "a", "text": hostile}))
    assert texts(table, "a") == [hostile]
