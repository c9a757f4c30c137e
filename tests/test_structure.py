"""Dependencies point one way: cli -> {labelgen, trainer} -> vocab -> {dataset, files, ...}."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "ovocr"
OCR_PACKAGES = {"rapidocr", "onnxruntime", "paddle", "paddleocr", "paddlex", "PIL"}
COMMANDS = {"ovocr.cli", "ovocr.commands"}
FORBIDDEN = {
    "labelgen": {"torch", "ovocr.trainer"} | COMMANDS,
    "trainer": {"ovocr.labelgen", "jieba", "wordfreq", "regex"} | COMMANDS | OCR_PACKAGES,
    "vocab": {"torch", "ovocr.labelgen", "ovocr.trainer", "ovocr.recordio"} | COMMANDS | OCR_PACKAGES,
    "recordio": {"torch", "mxnet", "ovocr.labelgen", "ovocr.trainer", "ovocr.vocab", "ovocr.dataset.layout"} | COMMANDS,
}


def imported(path: Path) -> set[str]:
    """Modules that a file imports, at its top or inside a function."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules |= {node.module or ""} | {f"{node.module}.{name.name}" for name in node.names}
    return modules


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_folders_import_only_what_they_may(folder: str) -> None:
    files = sorted((PACKAGE / folder).rglob("*.py"))
    assert files
    for path in files:
        for module in imported(path):
            parts = module.split(".")
            prefixes = {".".join(parts[: n + 1]) for n in range(len(parts))}
            assert not prefixes & FORBIDDEN[folder], f"{path} imports {module}"
