"""Only ovocr.dataset knows the names of a data set's files and columns, and opens its Parquet files."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovocr.dataset.layout import FOLDERS, RELATIVE
from ovocr.dataset.schemas import OCR, PACKED_RECORDS, RECORDS

PACKAGE = Path(__file__).resolve().parents[2] / "ovocr"
# These modules read other Parquet files: sources, tables of class ids, and counted words.
OTHER_PARQUET = ("labelgen/sources", "labelgen/tables", "vocab")
FILES = {path.name for path in (RELATIVE.manifest_path, *RELATIVE.word_files())}
COLUMNS = {*OCR.names, *RECORDS.names, *PACKED_RECORDS.names}
SCHEMAS = {"OCR", "RECORDS", "PACKED_RECORDS", "records_schema"}
# This module compares the schemas of files.
SCHEMA_USERS = ("labelgen/verification/shard_check.py",)
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if PACKAGE / "dataset" not in path.parents)


def is_below(path: Path, folders: tuple[str, ...]) -> bool:
    name = path.relative_to(PACKAGE).as_posix()
    return any(name == folder or name.startswith(f"{folder}/") for folder in folders)


def strings(node: ast.AST) -> Iterator[str]:
    return (part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


def file_names(tree: ast.AST) -> Iterator[str]:
    """Yields names of a data set's files and folders that are joined to a path or formatted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            yield from (part for part in strings(node.right) if part in {*FILES, *FOLDERS})
        elif isinstance(node, ast.JoinedStr):
            constants = [part.value for part in node.values if isinstance(part, ast.Constant)]
            yield from (part for part in map(str, constants) if part.rpartition(" ")[2] in {f"{it}/" for it in FOLDERS})
        elif isinstance(node, ast.Constant) and node.value in FILES:
            yield str(node.value)


def column_names(tree: ast.AST) -> Iterator[str]:
    """Yields names of columns in calls of pyarrow: table.column(...), columns=[...]."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        parts = [*(node.args if function in ("column", "field") else [])]
        parts += [keyword.value for keyword in node.keywords if keyword.arg == "columns"]
        yield from (name for part in parts for name in strings(part) if name in COLUMNS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_the_dataset_package_knows_the_format(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = list(imported(tree))
    if not is_below(path, ("labelgen/engines",)):  # the models of an engine are in det/ and rec/
        assert list(file_names(tree)) == []
    if not is_below(path, OTHER_PARQUET):
        assert not [module for module in modules if module.startswith("pyarrow.parquet")]
        assert list(column_names(tree)) == []
    if not is_below(path, SCHEMA_USERS):
        assert not [module for module in modules if module.startswith("ovocr.dataset.schemas.")]


def test_has_text_is_defined_once() -> None:
    """No other module derives it from the manifest's keys or from the presence of a file."""
    for path in MODULES:
        assert '"labels" in' not in path.read_text(encoding="utf-8"), path
        assert '"num_classes" in' not in path.read_text(encoding="utf-8"), path
    assert sum("def has_text" in path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")) == 1
