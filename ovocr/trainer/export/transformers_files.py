"""What transformers needs to load an exported encoder: code, entries of config.json, preprocessor_config.json."""

import json
from importlib.resources import files
from pathlib import Path

from ovocr.base.files import write_text
from ovocr.trainer.backbone.vision_transformer import CONFIG_NAME
from ovocr.trainer.config.sections import BackboneConfig
from ovocr.trainer.data.images import CLIP_MEAN, CLIP_STD

PREPROCESSOR_NAME = "preprocessor_config.json"
# Which class of which copied file each Auto class of transformers loads.
_MODEL_CLASSES = {
    "AutoConfig": "configuration_onevision_encoder.OneVisionEncoderConfig",
    "AutoModel": "modeling_onevision_encoder.OneVisionEncoderModel",
}
_PROCESSOR_CLASSES = {"AutoImageProcessor": "image_processing_onevision_encoder.OneVisionEncoderImageProcessor"}


def code_files() -> dict[str, str]:
    """Returns the text of each file of code by its name in an export."""
    folder = files("ovocr.trainer.export").joinpath("transformers_code")
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".py")}


def write_transformers_files(folder: Path, config: BackboneConfig) -> None:
    """Adds to a folder with config.json and model.safetensors what transformers needs to load them as an encoder."""
    for name, text in code_files().items():
        write_text(folder / name, text)
    keys = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    _write_json(folder / CONFIG_NAME, {**keys, "auto_map": _MODEL_CLASSES})
    side = {"height": config.image_size, "width": config.image_size}
    # Without image_processor_type, which would make transformers 4 advise another processor with other pixels.
    processor = {"auto_map": _PROCESSOR_CLASSES, "size": side, "crop_size": side, "do_normalize": True}
    statistics = {"image_mean": CLIP_MEAN, "image_std": CLIP_STD}
    _write_json(folder / PREPROCESSOR_NAME, processor | statistics)


def _write_json(path: Path, value: dict[str, object]) -> None:
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")
