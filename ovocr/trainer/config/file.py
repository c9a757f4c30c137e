"""Reads a run's configuration from a TOML file, applies overrides, and checks it before anything starts."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ovocr.base.errors import MissingExtraError, OvocrError, UsageError
from ovocr.dataset.access.opening import DataLocation, open_data_set
from ovocr.dataset.layout import LabelledDataSet, OldFormatError
from ovocr.trainer.config.evaluation import EvaluationConfig
from ovocr.trainer.config.heads import HeadConfig, OcrHeadConfig
from ovocr.trainer.config.parsing import SettingError, parse
from ovocr.trainer.config.sections import RUN_CONFIG, RunConfig
from ovocr.vocab.class_map import ClassMap
from ovocr.vocab.word_frequencies import WordFrequencies

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def load_config(path: str | Path, overrides: Iterable[str] = (), *, check_paths: bool = True) -> RunConfig:
    """Returns the checked configuration of a run.

    path: a TOML file.
    overrides: settings as ``section.key=value``, which replace values of the file. A value that is not TOML is text.
    check_paths: whether data sets and initial weights must exist. Evaluating a finished run on other data does not need
        them.

    Raises UsageError: one line with the file (or --set), the key and the allowed values.
    """
    tables = _read_toml(Path(path))
    overridden = [_override(tables, override) for override in overrides]
    for section in RunConfig.model_fields:
        tables.setdefault(section, {})  # reports a missing key instead of a missing section
    try:
        _translate_old_keys(tables)
        config = parse(RunConfig, tables)
        if check_paths:
            _check_paths(config)
    except SettingError as error:
        from_override = any(re.match(rf"{re.escape(key)}(?:[.\[]|$)", error.key) for key in overridden)
        raise UsageError(f"{'--set' if from_override else path}: {error}") from None
    return config


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))  # editors on Windows write a byte order mark
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text: byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error


def _override(tables: dict[str, Any], override: str) -> str:
    """Sets one ``section.key=value`` in the parsed tables. Returns the key, or the section if it created one."""
    key, equals, text = (part.strip() for part in override.partition("="))
    *sections, name = key.split(".")
    if not equals or not sections or not all((*sections, name)):
        raise UsageError(f"--set {override}: must be section.key=value, such as run.steps=1000")
    table, added = tables, key
    for depth, section in enumerate(sections, 1):
        path = ".".join(sections[:depth])
        if section not in table:
            table[section] = {}
            added = min(added, path, key=len)
        table = table[section]
        if not isinstance(table, dict):
            raise UsageError(f"--set {override}: {path} is not a section")
    table[name] = _override_value(text)
    return added


def _override_value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if len(parsed) == 1 else text  # a line break in the text may start another key


def _translate_old_keys(tables: dict[str, Any]) -> None:
    """Replaces keys of earlier versions, which the configurations of older runs have. Raises SettingError."""
    run, tracking = tables["run"], tables["tracking"]
    if not isinstance(run, dict) or "tensorboard" not in run or not isinstance(tracking, dict):
        return
    if not isinstance(run["tensorboard"], bool) or "trackers" in tracking:
        raise SettingError("run.tensorboard", "replaced by tracking.trackers, a list of names; leave it out")
    tracking["trackers"] = ["tensorboard"] if run.pop("tensorboard") else []


def _check_paths(config: RunConfig) -> None:
    output = config.run.output
    resumes = (output / RUN_CONFIG).is_file()  # and uses its own checkpoints
    if output.exists() and not output.is_dir():
        raise SettingError("run.output", f"{output}: is a file; choose a folder")
    if LabelledDataSet(output).manifest_path.exists():
        raise SettingError("run.output", f"{output}: is a labelled data set; choose another folder")
    for name, head in config.heads.items():
        _check_head(name, head, resumes=resumes)
    if config.evaluation.every:
        _check_evaluation(config.evaluation)
    folder = config.backbone.init_from
    if not resumes and folder is not None and not (folder / RUN_CONFIG).is_file():
        for file_name in ("config.json", "model.safetensors"):
            if not (folder / file_name).is_file():
                raise SettingError("backbone.init_from", f"{folder / file_name}: no such file")


def _check_head(name: str, head: HeadConfig, *, resumes: bool) -> None:
    for root in head.data:
        try:
            _check_data(head.kind, root)
        except (OldFormatError, MissingExtraError):  # the setting is right; the data set needs a new format
            raise
        except OvocrError as error:
            raise SettingError(f"heads.{name}.data", str(error)) from error
    if not resumes and head.init_from is not None and not (head.init_from / RUN_CONFIG).is_file():
        raise SettingError(f"heads.{name}.init_from", f"{head.init_from}: not a training run (no {RUN_CONFIG})")
    if not resumes and head.init_map is not None:
        try:
            ClassMap.load(head.init_map)
        except OvocrError as error:
            raise SettingError(f"heads.{name}.init_map", str(error)) from error
    if isinstance(head, OcrHeadConfig) and head.tag_frequencies is not None:
        try:
            WordFrequencies.load(head.tag_frequencies)
        except OvocrError as error:
            raise SettingError(f"heads.{name}.tag_frequencies", str(error)) from error


def _check_data(kind: str, path: DataLocation) -> None:
    if isinstance(path, str):
        if kind == "video":
            raise OvocrError(f"{path}: a list of videos must be on a disk; copy it there")
        open_data_set(path)
    elif kind == "image" and not LabelledDataSet(path).manifest_path.is_file():
        raise OvocrError(f"{path}: not a labelled data set (no manifest.json); create one with `ovocr pack-labels`")
    elif kind != "video":
        LabelledDataSet.open(path)
    elif not path.is_file():
        raise OvocrError(f"{path}: no such file; a list of videos is a text file with a path and class ids per line")


def _check_evaluation(settings: EvaluationConfig) -> None:
    for path in settings.data:
        if not isinstance(path, str) and not path.exists():
            problem = "no such file or folder; held-out data are labelled data sets and lists of videos"
            raise SettingError("evaluation.data", f"{path}: {problem}")
        try:
            if isinstance(path, str) or not path.is_file():  # the lines of a list are checked when it is opened
                open_data_set(path)
        except (OldFormatError, MissingExtraError):
            raise
        except OvocrError as error:
            raise SettingError("evaluation.data", str(error)) from error
    if settings.groups is not None and not settings.groups.is_file():
        raise SettingError("evaluation.groups", f"{settings.groups}: no such file")
