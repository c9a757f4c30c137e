"""A run's configuration from its TOML file: read, overridden, checked before anything starts; and written back."""

import dataclasses
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ovocr.base.errors import OvocrError, UsageError
from ovocr.dataset.layout import LabelledDataSet
from ovocr.trainer.config.sections import RUN_CONFIG, BackboneConfig, RunConfig
from ovocr.trainer.config.settings import SettingError, build, dump, unknown_key
from ovocr.vocab.class_map import ClassMap

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Sizes by name (Base, Large and Huge of ViT) for `backbone.preset`; single keys beside it take precedence.
PRESETS: dict[str, dict[str, int]] = {
    name: {
        "hidden_size": hidden,
        "intermediate_size": 4 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "image_size": 448,
        "patch_size": 14,
    }
    for name, hidden, layers, heads in (("base", 768, 12, 12), ("large", 1024, 24, 16), ("huge", 1280, 32, 20))
}


def load_config(path: str | Path, overrides: Iterable[str] = (), *, check_paths: bool = True) -> RunConfig:
    """Read and check a run's configuration.

    path: a TOML file.
    overrides: ``section.key=value`` each, in place of what the file says; the value is TOML, or a text where it does
        not parse as such.
    check_paths: whether the data sets and the folder to start from must be there; evaluation of a finished run on
        other data does not need them.

    Raises UsageError, one line that names the file (or --set), the key and what is allowed.
    """
    tables = _read_toml(Path(path))
    overridden = [_override(tables, override) for override in overrides]
    try:
        _apply_preset(tables)
        config = build(RunConfig, tables)
        if check_paths:
            _check_paths(config)
    except SettingError as error:
        from_override = any(re.match(rf"{re.escape(key)}(?:[.\[]|$)", error.key) for key in overridden)
        raise UsageError(f"{'--set' if from_override else path}: {error}") from None
    return config


def dump_config(config: RunConfig) -> str:
    """TOML text of every setting, defaults included, with its documentation; ``load_config`` reads it back equal."""
    return dump(config)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))  # editors of Windows begin with a mark
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text: byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error


def _override(tables: dict[str, Any], override: str) -> str:
    """Put one ``section.key=value`` into the parsed tables; returns its key, or that of the section it made for it."""
    key, equals, text = (part.strip() for part in override.partition("="))
    *sections, name = key.split(".")
    if not equals or not sections or not all((*sections, name)):
        raise UsageError(f"--set {override}: section.key=value is expected, such as run.steps=1000")
    table, made = tables, key
    for depth, section in enumerate(sections, 1):
        path = ".".join(sections[:depth])
        if section not in table:
            table[section] = {}
            made = min(made, path, key=len)
        table = table[section]
        if not isinstance(table, dict):
            raise UsageError(f"--set {override}: {path} is no section")
    table[name] = _override_value(text)
    return made


def _override_value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if len(parsed) == 1 else text  # more than one: the text held a line end and a further key


def _apply_preset(tables: dict[str, Any]) -> None:
    """Replace ``backbone.preset`` by the sizes it stands for."""
    backbone = tables.get("backbone")
    if not isinstance(backbone, dict):
        return
    known = ["preset", *(setting.name for setting in dataclasses.fields(BackboneConfig))]
    for key in backbone:
        if key not in known:
            raise SettingError(f"backbone.{key}", unknown_key(key, known))
    if "preset" in backbone:
        preset = backbone["preset"]
        if not isinstance(preset, str) or preset not in PRESETS:
            allowed = ", ".join(f'"{name}"' for name in PRESETS)
            raise SettingError("backbone.preset", f"{preset!r} is not allowed; allowed are {allowed}")
        sizes = {**PRESETS[preset], **backbone}
        del sizes["preset"]
        tables["backbone"] = sizes


def _check_paths(config: RunConfig) -> None:
    output = config.run.output
    begun = (output / RUN_CONFIG).is_file()  # it goes on from its own checkpoints
    if output.exists() and not output.is_dir():
        raise SettingError("run.output", f"{output}: a file; a folder's path is needed")
    if LabelledDataSet(output).manifest_path.exists():
        raise SettingError("run.output", f"{output}: is a labelled data set; choose a folder of its own")
    for name, head in config.heads.items():
        for root in head.data:
            try:
                _check_data(head.kind, root)
            except OvocrError as error:
                raise SettingError(f"heads.{name}.data", str(error)) from error
        if not begun and head.init_from is not None and not (head.init_from / RUN_CONFIG).is_file():
            raise SettingError(f"heads.{name}.init_from", f"{head.init_from}: not a training run (no {RUN_CONFIG})")
        if not begun and head.init_map is not None:
            try:
                ClassMap.load(head.init_map)
            except OvocrError as error:
                raise SettingError(f"heads.{name}.init_map", str(error)) from error
    folder = config.backbone.init_from
    if not begun and folder is not None and not (folder / RUN_CONFIG).is_file():
        for file_name in ("config.json", "model.safetensors"):
            if not (folder / file_name).is_file():
                raise SettingError("backbone.init_from", f"{folder / file_name}: no such file")


def _check_data(kind: str, path: Path) -> None:
    if kind == "image" and not LabelledDataSet(path).manifest_path.is_file():
        raise OvocrError(f"{path}: not a labelled data set (no manifest.json); make one with `ovocr pack-labels`")
    if kind != "video":
        LabelledDataSet.open(path)
    elif not path.is_file():
        raise OvocrError(f"{path}: no such file; a list of videos is a text file, a line a video: path and class ids")
