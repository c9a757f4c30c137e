"""The command line: fast help, one-line errors, exit codes, and options that agree with the code and the documents."""

import json
import os
import re
import subprocess
import sys
from dataclasses import MISSING, fields, replace
from inspect import signature
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ovocr.cli import main
from ovocr.dataset.manifest import OLD_FORMAT
from ovocr.labelgen.inspection.options import InspectOptions
from ovocr.labelgen.options import BuildOptions, PackOptions, RelabelOptions
from ovocr.vocab import Vocabulary
from ovocr.vocab.building.options import VocabularyOptions
from tests.conftest import ROOT
from tests.manifests import make_manifest

HEAVY = [
    "torch",
    "pydantic",
    "numpy",
    "pyarrow",
    "jieba",
    "wordfreq",
    "regex",
    "rapidocr",
    "onnxruntime",
    "paddleocr",
    "paddle",
    "PIL",
    "cv2",
    "ray",
    "jinja2",
]


def ovocr(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from click.testing import CliRunner; from ovocr.cli import main\n"
        "result = CliRunner().invoke(main, ['--help']); assert result.exit_code == 0, result.output\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("package", ["ovocr.labelgen.build", "ovocr.vocab", "ovocr.dataset", "ovocr.recordio"])
def test_labelling_imports_neither_torch_nor_pydantic(package: str) -> None:
    program = f"import sys, {package}; print([name for name in ('torch', 'pydantic') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        found += commands(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
    return found


def command_at(path: tuple[str, ...]) -> click.Command:
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    return command


@pytest.mark.parametrize("path", commands(main), ids=" ".join)
def test_every_command_has_help(path: tuple[str, ...]) -> None:
    code, text, _ = ovocr(*path, "--help")
    assert code == 0
    for parameter in command_at(path).params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.opts
    assert len(text.splitlines()) > 3


@pytest.mark.parametrize(
    ("path", "options"),
    [
        (("build-labels",), BuildOptions),
        (("pack-labels",), PackOptions),
        (("relabel",), RelabelOptions),
        (("inspect",), InspectOptions),
        (("vocab", "build"), VocabularyOptions),
    ],
)
def test_every_field_of_the_options_has_an_option_with_its_default_and_help(
    path: tuple[str, ...], options: type
) -> None:
    parameters = {parameter.name: parameter for parameter in command_at(path).params}
    _, text, _ = ovocr(*path, "--help")
    shown = " ".join(text.split())
    for field in fields(options):
        parameter = parameters[field.name]
        if isinstance(parameter, click.Option):
            assert field.metadata["help"] in shown
            assert parameter.required == (field.default is MISSING)
            if isinstance(field.default, bool):
                assert parameter.is_flag
            elif isinstance(field.default, int | float | str) and field.name != "memory":  # an amount such as 2GB
                assert parameter.default == field.default


@pytest.mark.parametrize(
    ("document", "path"), [("inspection.md", ("inspect",)), ("verification.md", ("verify",)), ("read.md", ("read",))]
)
def test_documented_options_match_the_command(document: str, path: tuple[str, ...]) -> None:
    text = (Path(__file__).parents[1] / "docs" / document).read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(--[a-z-]+)[^|`]*(?:\\\|[^|`]*)*` \| (.*) \|$", text, re.MULTILINE))
    parameters = {name: parameter for parameter in command_at(path).params for name in parameter.opts}
    options = {name for name, parameter in parameters.items() if name.startswith("--") and not parameter.required}
    assert set(rows) == options
    for name, row in rows.items():
        for default in re.findall(r"\((\d+)[;)]", row):
            assert int(default) == parameters[name].default, name


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["vocab", "show", "lexicon", "365187"], 1, "ovocr: 365187: class ids go from 0 to 365186"),
        (["vocab", "show", "none.txt", "a"], 1, "none.txt"),
        (["build-labels", ".", "--out", "o", "--engine", "none"], 2, "--engine none: not one of rapidocr, paddleocr"),
        (
            ["build-labels", "none.tar", "--out", "o", "--det-model", "x", "--model-dir", "."],
            2,
            "--det-model x: the models",
        ),
        (["verify", "."], 1, "not a labelled data set (no manifest.json)"),
        (["verify", ".", "--workers", "0"], 2, "--workers 0: must be at least 1"),
        (["why", ".", "a.jpg"], 1, "not a labelled data set (no manifest.json)"),
        (["vocab", "coverage", "."], 1, "not a labelled data set (no manifest.json)"),
        (["vocab", "build", ".", "--out", "v"], 1, "not a labelled data set (no manifest.json)"),
        (["vocab", "build", ".", "--out", "."], 2, "--out .: is a folder"),
        (["vocab", "build", ".", "--out", ""], 2, "--out : is a folder"),
        (
            ["vocab", "build", ".", "--out", "none/v"],
            2,
            "--out none/v: is a folder, or in a folder that does not exist",
        ),
        (["vocab", "build", ".", "--out", "lexicon"], 2, "--out lexicon: is the name of the built-in vocabulary"),
        (["vocab", "build", ".", "--out", "v", "--size", "99999999"], 2, "--size 99999999: must be from 1 to 16777216"),
        (["vocab", "build", ".", "--out", "v", "--memory", "1MB"], 2, "--memory 1MB: at least 100MB is needed"),
        (["vocab", "build", ".", "--out", "v", "--han", "x"], 2, "--han x: not one of as-read, simplified"),
        (["vocab", "build", ".", "--out", "v", "--drop", "none.txt"], 1, "none.txt: No such file or directory"),
        (["train", "none.toml"], 2, "ovocr: none.toml: no such file"),
        (["eval", ".", "--data", "."], 1, "not a training run (no config.toml)"),
        (["read", ".", "x.jpg"], 1, "not a training run (no config.toml)"),
        (["build-labels", "none.tar", "--out", "o"], 2, "none.tar"),
        (["build-labels", ".", "--out", ""], 2, "--out: is empty"),
        (["build-labels", "s4://x/a.tar", "--out", "o"], 2, "s4://x/a.tar: Protocol not known: s4"),
        (["eval", "s3://x/y", "--data", "."], 2, "s3://x/y: must be on a disk; copy it there first"),
        (["relabel", ".", "--out", "s3://x/y"], 2, "--out s3://x/y: must be on a disk"),
        (["export", "s3://x/y", "."], 2, "s3://x/y: must be on a disk"),
        (["build-labels", ".", "--out", "o", "--model-dir", ""], 2, "--model-dir: is empty; a folder's path is needed"),
        (["build-labels", ".", "--out", "o", "--model-dir", "m"], 2, "--model-dir: m: no such folder"),
        (["build-labels", ".", "--out", "o", "--tags", "99999999"], 2, "--tags 99999999: must be at most 100000"),
        (["build-labels", ".", "--out", "o", "--json", "."], 2, "--json .: is a folder"),
        (["vocab", "coverage", ".", "--json", "none/x.json"], 2, "--json none/x.json: is a folder, or in a folder"),
        (["vocab", "coverage", ".", "--html", "none/x.html"], 2, "--html none/x.html: is a folder, or in a folder"),
        (["vocab", "coverage", ".", "--html", "-"], 2, "--html -: a page cannot be printed"),
        (["vocab", "coverage", ".", *["--vocab", "lexicon"] * 2], 2, "--vocab lexicon: the same vocabulary as lexicon"),
        (["build-labels", ".", "--out", "o", "--shard-slice", "3"], 2, "--shard-slice 3: must be I/N"),
        (["build-labels", "none.tar", "--out", "o", "--lines", "none.json"], 2, "ovocr: none.tar: no such file or fol"),
        (
            ["build-labels", ".", "--out", "o", "--key-column", "k", "--image-key-column", "i"],
            2,
            "--key-column k: without --lines, it is the same as --image-key-column, which is given, too; leave out",
        ),
        (["build-labels", ".", "--out", "o", "--image-root", "none"], 2, "--image-root none: no such folder"),
        (
            ["build-labels", ".", "--out", "o", "--lines", "t.json", "--engine", "paddleocr"],
            2,
            "--engine paddleocr: no engine reads the images with --lines",
        ),
        (
            ["build-labels", ".", "--out", "o", "--lines", "t.json", "--model-dir", "m"],
            2,
            "--model-dir m: no engine reads the images with --lines",
        ),
        (["pack-labels", "none.tar", "--labels", "none.csv", "--out", "o"], 2, "none.tar: no such file or folder"),
        (["pack-labels", ".", "--labels", "t.csv", "--out", "o", "--tags", "0"], 2, "--tags 0: must be at least 1"),
        (
            ["pack-labels", ".", "--labels", "t.csv", "--out", "o", "--num-classes", "99999999"],
            2,
            "--num-classes 99999999: must be from 1 to 16777216",
        ),
    ],
)
def test_error_is_one_line(
    arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found, text, errors = ovocr(*arguments)
    assert (found, text) == (code, "")
    assert message in errors
    assert errors.startswith("ovocr: ")
    assert len(errors.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_pipe_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code, _, errors = ovocr("vocab", "build", tmp_path, "--out", pipe, "--force")
    assert (code, errors) == (2, f"ovocr: --out {pipe}: is a device or a pipe; a file's path is needed\n")
    code, _, errors = ovocr("vocab", "coverage", tmp_path, "--json", pipe)
    assert (code, errors.endswith("a file's path is needed, or - for standard output\n")) == (2, True)
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    ("option", "target", "message"),
    [
        ("--json", "set/manifest.json", "is inside a labelled data set"),
        ("--html", "set/page.html", "is inside a labelled data set"),
        ("--json", "set/stats/00000.json", "is inside a labelled data set"),
        ("--html", "notes.txt", "would replace a file of a different kind"),
        ("--json", "notes.txt", "would replace a file of a different kind"),
    ],
)
def test_files_of_other_programs_are_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, target: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set" / "stats").mkdir(parents=True)
    (tmp_path / "set" / "manifest.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("mine")
    code, _, errors = ovocr("vocab", "coverage", "set", option, target)
    assert (code, errors.startswith(f"ovocr: {option} {target}: {message}")) == (2, True)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    code, _, errors = ovocr("train", "notes.txt", "--preview", "notes.txt")
    assert (code, errors.startswith("ovocr: --preview notes.txt: would replace a file of a different kind")) == (
        2,
        True,
    )


@pytest.mark.parametrize("other", [["--dry-run"], ["--extend"], ["--nproc-per-node", "2"]])
def test_preview_excludes_options_of_training(tmp_path: Path, other: list[str]) -> None:
    code, _, errors = ovocr("train", str(tmp_path / "no.toml"), "--preview", str(tmp_path / "page.html"), *other)
    assert (code, errors.startswith("ovocr: --preview does not train")) == (2, True)


def test_wrong_usage_is_exit_code_2() -> None:
    assert ovocr("build-labels", "x")[0] == 2
    assert ovocr("build-labels", "x", "--out", "o", "--engine", "none")[0] == 2
    assert ovocr("nothing")[0] == 2


def test_control_characters_in_errors_are_escaped(tmp_path: Path) -> None:
    _, _, errors = ovocr("build-labels", tmp_path / "\x1b[31mred.tar", "--out", tmp_path / "o")
    assert "\x1b" not in errors
    assert "\\x1b[31mred.tar" in errors


def test_file_instead_of_a_folder_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    empty = tmp_path / "empty.tar"
    empty.write_bytes(b"\0" * 10240)
    code, _, errors = ovocr("build-labels", empty, "--out", tmp_path / "file")
    assert (code, len(errors.splitlines())) == (1, 1)
    assert str(tmp_path / "file") in errors


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    code, _, errors = ovocr("--debug", "vocab", "coverage", tmp_path)
    assert code == 1
    assert "Traceback" in errors
    assert errors.splitlines()[-1].startswith("ovocr: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify", "OLD"],
        ["why", "OLD", "a.jpg"],
        ["inspect", "OLD", "--html", "page.html"],
        ["vocab", "build", "OLD", "--out", "v.txt"],
        ["vocab", "coverage", "OLD"],
        ["train", "config.toml", "--preview", "page.html"],
        ["train", "config.toml"],
    ],
    ids=" ".join,
)
def test_labelled_data_set_of_format_2_is_refused_with_one_line(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if arguments[0] == "train":
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    Path("OLD").mkdir()
    manifest = make_manifest(["a.tar"], vocabulary=Vocabulary(["fox"]))
    replace(manifest, format=OLD_FORMAT).write(tmp_path / "OLD" / "manifest.json")
    config = (ROOT / "configs" / "demo.toml").read_text().replace("demo/train", "OLD").replace("demo/run", "run")
    Path("config.toml").write_text(config)
    advice = "make a data set of format 3 from its stored text, without an engine: ovocr relabel OLD --out NEW_DIR"
    assert ovocr(*arguments) == (1, "", f"ovocr: OLD: format 2; {advice}\n")
    assert sorted(path.name for path in Path().iterdir()) == ["OLD", "config.toml"]


def test_vocab_show_prints_words_and_ids(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("one\ntwo\n")
    assert ovocr("vocab", "show", tmp_path / "v.txt", "two", "0") == (0, "1\ttwo\n0\tone\n", "")
    code, text, errors = ovocr("vocab", "show", tmp_path / "v.txt", "TWO", "\x1b[3", "2")
    assert (code, text) == (1, "1\ttwo\n")
    assert errors.splitlines() == [
        "ovocr: TWO: is looked up as two",
        "ovocr: \\x1b[3: not in the vocabulary (looked up as [3); segmentation finds no word in it",
        "ovocr: 2: class ids go from 0 to 1",
    ]


def test_vocab_show_writes_json(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("one\ntwo\n")
    code, text, _ = ovocr("vocab", "show", tmp_path / "v.txt", "two", "three", "--json", "-")
    assert code == 1
    assert json.loads(text) == {
        "answers": [
            {"asked": "two", "id": 1, "word": "two", "note": ""},
            {"asked": "three", "id": None, "word": None, "note": "not in the vocabulary"},
        ]
    }


def test_vocab_show_describes_the_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("one\ntwo\n")
    code, text, _ = ovocr("vocab", "show", tmp_path / "v.txt", "--json", tmp_path / "v.json")
    assert code == 0
    assert text.splitlines()[-1] == "last    one, two"
    assert json.loads((tmp_path / "v.json").read_text())["size"] == 2


def test_json_alone_on_standard_output(tmp_path: Path, example_shards: Path) -> None:
    out = tmp_path / "labels"
    empty = tmp_path / "empty.tar"
    empty.write_bytes(b"\0" * 10240)
    code, text, error = ovocr("build-labels", empty, "--out", out, "--json", "-")
    assert (code, error.splitlines()[-1]) == (1, "ovocr: the sources have no image")
    assert json.loads(text)["input"] == 0
    code, text, _ = ovocr("build-labels", empty, "--out", out, "--json", tmp_path / "totals.json")
    assert "nothing to do: all shards are finished" in text
    assert json.loads((tmp_path / "totals.json").read_text())["shards_built"] == 0


def test_eval_and_read_have_the_defaults_of_their_functions() -> None:
    pytest.importorskip("torch")
    from ovocr.trainer.evaluation.evaluate import evaluate
    from ovocr.trainer.evaluation.read import read_words

    for command, function, names in (
        ("eval", evaluate, {"top_k", "device", "workers", "crops", "min_text_height", "replicates", "seed"}),
        ("read", read_words, {"top_k", "device"}),
    ):
        options = {option.name: option.get_default(click.Context(main)) for option in main.commands[command].params}
        parameters = signature(function).parameters
        assert {name: options[name] for name in names} == {name: parameters[name].default for name in names}
