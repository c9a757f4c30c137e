"""The model card of an exported encoder: Markdown with data, settings, measures and how to use it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from ovocr import __version__
from ovocr.base.errors import OvocrError
from ovocr.base.escape import for_terminal
from ovocr.dataset.access.opening import DataLocation, open_data_set
from ovocr.pages.rendering import environment
from ovocr.trainer.config.heads import HeadConfig, OcrHeadConfig
from ovocr.trainer.config.settings import Settings
from ovocr.trainer.config.toml import dump_config
from ovocr.trainer.data.images import GROUND_RGB
from ovocr.trainer.export.measures import Measures, measures_of_run
from ovocr.trainer.training.model import TrainedRun, saved_per_head

_SettingsType = TypeVar("_SettingsType", bound=Settings)
# Characters with a meaning in Markdown, in HTML or in a cell of a table.
_SPECIAL = re.compile(r"[\\`*\[\]<>|&~]")


def licence_lines(card: Path) -> list[str]:
    """Returns the lines about the licence at the top of a model card; none if there is no such file."""
    if not card.is_file():
        return []
    _, _, top = card.read_text(encoding="utf-8", errors="replace").partition("---\n")
    return re.findall(r"^license(?:_name|_link)?:.*$", top.partition("\n---")[0], re.MULTILINE)


def model_card(
    trained: TrainedRun, measures: Measures | None, *, name: str, with_onnx: bool, licence: Sequence[str] = ()
) -> str:
    """Returns the text of README.md. Paths in it are names only, because an export leaves the machine.

    measures: figures of ``ovocr eval``; None takes the run's own evaluation, if it has one. name: name of the export.
    licence: lines about the licence for the top of the card.
    """
    from markupsafe import Markup

    page = environment("ovocr.trainer.export")
    page.filters["md"] = lambda value: Markup(_escaped(str(value)))
    config = trained.config
    checkpoint = trained.folder.checkpoint(trained.step)
    samples = saved_per_head(checkpoint, "samples", config)
    figures = measures or measures_of_run(trained)
    return page.get_template("README.md.j2").render(
        name=name,
        licence=Markup("".join(f"{for_terminal(line)}\n" for line in licence)),
        version=__version__,
        with_onnx=with_onnx,
        ground=GROUND_RGB,
        config=config,
        backbone=config.backbone,
        parameters=sum(parameter.numel() for parameter in trained.model.backbone.parameters()),
        step=trained.step,
        heads=[_head(trained, head, settings, samples[head]) for head, settings in config.heads.items()],
        measures=figures,
        settings=Markup(_printable(dump_config(_without_folders(config)))),
    )


def _head(trained: TrainedRun, name: str, head: HeadConfig, samples: int) -> dict[str, Any]:
    vocabulary = trained.vocabularies.get(name)
    return {
        "name": name,
        "settings": head,
        "data": [_data_set(path) for path in head.data],
        "samples": samples,
        "seen": trained.step * head.global_batch,
        "classes": trained.model.heads[name].num_classes,
        "vocabulary": None if vocabulary is None else vocabulary.sha256,
        "least_height": head.min_text_height if isinstance(head, OcrHeadConfig) else None,
        "crop_height": head.crop_text_height if isinstance(head, OcrHeadConfig) else None,
    }


def _data_set(location: DataLocation) -> str:
    """Describes a data set: its name or URL, and what made its tags if it is still at its place."""
    name = location if isinstance(location, str) else location.name
    try:
        manifest = open_data_set(location).manifest()
    except OvocrError:
        return name
    if manifest.engine is None:
        return f"{name} (class ids of a table)"
    return f"{name} (text: {manifest.engine.get('name')})"


def _without_folders(settings: _SettingsType) -> _SettingsType:
    """Returns the settings with the last part of each path alone."""
    return settings.model_copy(
        update={name: _names_only(getattr(settings, name)) for name in type(settings).model_fields}
    )


def _names_only(value: Any) -> Any:
    if isinstance(value, Settings):
        return _without_folders(value)
    if isinstance(value, Path):
        return Path(value.name)
    if isinstance(value, tuple):
        return tuple(map(_names_only, value))
    return {key: _names_only(item) for key, item in value.items()} if isinstance(value, dict) else value


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", for_terminal(text))


def _printable(text: str) -> str:
    """Makes control characters visible, line by line."""
    return "\n".join(for_terminal(line) for line in text.split("\n"))
