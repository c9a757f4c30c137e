"""Differences of two configurations in settings that affect what a step computes."""

from pathlib import Path
from typing import Any

from ovocr.dataset.access.opening import location_name
from ovocr.trainer.config.evaluation import EvaluationConfig
from ovocr.trainer.config.heads import HeadConfig, OcrHeadConfig
from ovocr.trainer.config.sections import LoaderConfig, RunConfig
from ovocr.trainer.config.tracking import TrackingConfig


def find_differences(old: RunConfig, new: RunConfig) -> dict[str, str]:
    """Returns a description of each different setting that affects what a step computes, by its dotted name."""
    old_settings, new_settings = (_flat(_relevant_to_steps(config).model_dump()) for config in (old, new))
    differences = {}
    for key in {**old_settings, **new_settings}:
        if old_settings.get(key) != new_settings.get(key):
            old_value, new_value = (_format_setting(key, settings) for settings in (old_settings, new_settings))
            differences[key] = f"{key} was {old_value}, is now {new_value}"
    return differences


def _flat(tables: dict[str, Any], section: str = "") -> dict[str, object]:
    """Returns every setting by its dotted name."""
    flat: dict[str, object] = {}
    for key, value in tables.items():
        flat |= _flat(value, f"{section}{key}.") if isinstance(value, dict) else {f"{section}{key}": value}
    return flat


def _format_setting(key: str, settings: dict[str, object]) -> str:
    value = settings.get(key)
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return "not set" if value is None else str(value)


def _relevant_to_steps(config: RunConfig) -> RunConfig:
    """Resets settings that do not affect what a step computes: logging, tracking, loading, evaluation and locations."""
    run = config.run.model_copy(
        update={
            "output": Path(),
            "log_every": 1,
            "checkpoint_every": 1,
            "keep_checkpoints": 1,
            "device": "auto",
            "backbone_parallel": "ddp",
            "compile": False,
            "activation_checkpointing": False,
            "collective_timeout_s": 1.0,
        }
    )
    heads = {name: _without_locations(head) for name, head in config.heads.items()}
    backbone = config.backbone.model_copy(update={"init_from": None})
    unused = {"loader": LoaderConfig(), "evaluation": EvaluationConfig(), "tracking": TrackingConfig()}
    return config.model_copy(update={"run": run, "backbone": backbone, "heads": heads, **unused})


def _without_locations(head: HeadConfig) -> HeadConfig:
    """Resets the paths of a head: files may have moved, and the initial weights are in the checkpoints.

    Changed data, vocabularies and frequencies are detected elsewhere.
    """
    update: dict[str, object] = {"data": tuple(Path(location_name(location)) for location in head.data)}
    update |= {"init_from": None, "init_map": None}
    if isinstance(head, OcrHeadConfig):
        update["tag_frequencies"] = None
    return head.model_copy(update=update)
