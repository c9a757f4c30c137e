"""The structure of the package: import contracts, size of rooms, docstrings of rooms, and tests that mirror rooms."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SLOW_MODULES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, TESTS = ROOT / "ovocr", ROOT / "tests"
MOST_MODULES = 16
# Copied into exports; transformers loads it from there, so it is no room and its imports are relative.
COPIED = PACKAGE / "trainer" / "export" / "transformers_code"
ROOMS = sorted(path.parent.relative_to(ROOT) for path in PACKAGE.rglob("__init__.py"))
TEST_FOLDERS = sorted({path.parent.relative_to(TESTS) for path in TESTS.rglob("test_*.py")})
# Folders of tests that are not about one room: documents, other projects' readers, another environment, a service,
# faults of machines.
WITHOUT_ROOM = {Path("documents"), Path("website"), Path("interop"), Path("paddle"), Path("labelgen/store")}
WITHOUT_ROOM |= {Path("faults") / fault for fault in ("hosts", "parsers", "power_cut", "store")}
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
OCR_ENGINES = {"rapidocr", "onnxruntime", "paddle", "paddleocr", "paddlex", "PIL"}


@pytest.fixture(scope="module")
def lint_imports() -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-logo"]
    return subprocess.run([*command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("name", [contract["name"] for contract in CONTRACTS])
def test_import_contract_holds(name: str, lint_imports: "subprocess.CompletedProcess[str]") -> None:
    output = " ".join(lint_imports.stdout.split())  # long names are wrapped
    assert f"{name} KEPT" in output, lint_imports.stdout + lint_imports.stderr


def test_no_import_contract_has_exceptions() -> None:
    for contract in CONTRACTS:
        assert not {key for key in contract if key.startswith(("ignore", "unmatched"))}, contract["name"]


@pytest.mark.parametrize(
    ("room", "modules"),
    [
        ("ovocr.labelgen", {"torch"}),
        ("ovocr.vocab", {"torch"} | OCR_ENGINES),
        ("ovocr.recordio", {"torch", "mxnet"}),
        ("ovocr.trainer", {"jieba", "wordfreq", "regex"} | OCR_ENGINES),
    ],
)
def test_a_contract_forbids_heavy_imports(room: str, modules: set[str]) -> None:
    forbidden: set[str] = set()
    for contract in CONTRACTS:
        if contract["type"] == "forbidden" and room in contract["source_modules"]:
            forbidden |= set(contract["forbidden_modules"])
    assert modules <= forbidden


def test_a_contract_orders_the_rooms() -> None:
    """labelgen and trainer do not import each other, vocab imports neither, recordio imports only base."""
    (layers,) = (contract["layers"] for contract in CONTRACTS if contract.get("containers") == ["ovocr"])
    assert "labelgen | trainer" in layers
    assert layers.index("labelgen | trainer") < layers.index("vocab") < layers.index("recordio")
    assert layers[layers.index("recordio") + 1 :] == ["base"]


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_a_room_is_small_and_has_a_docstring(room: Path) -> None:
    modules = [path.name for path in (ROOT / room).glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MOST_MODULES, sorted(modules)
    text = (ROOT / room / "__init__.py").read_text(encoding="utf-8")
    assert len((ast.get_docstring(ast.parse(text)) or "").split()) >= 3


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")} - {COPIED}
    assert {folder.relative_to(ROOT) for folder in folders} == set(ROOMS)


def test_imports_are_absolute() -> None:
    for path in sorted(path for path in PACKAGE.rglob("*.py") if path.parent != COPIED):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not isinstance(node, ast.ImportFrom) or node.level == 0, f"{path}:{node.lineno}: relative import"


@pytest.mark.parametrize("folder", TEST_FOLDERS, ids=str)
def test_a_folder_of_tests_belongs_to_a_room(folder: Path) -> None:
    assert folder in WITHOUT_ROOM or (PACKAGE / folder / "__init__.py").is_file()


def test_slow_modules_exist() -> None:
    assert {module for module in SLOW_MODULES if not (TESTS / module).is_file()} == set()


@pytest.mark.parametrize("folder", TEST_FOLDERS, ids=str)
def test_make_check_tests_each_room(folder: Path) -> None:
    modules = {path.relative_to(TESTS).as_posix() for path in (TESTS / folder).glob("test_*.py")}
    assert folder in WITHOUT_ROOM or modules - SLOW_MODULES
