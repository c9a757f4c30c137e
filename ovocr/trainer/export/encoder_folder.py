"""The folder of an exported encoder: which files it has, and how they replace those of an earlier export."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from ovocr.base.errors import UsageError
from ovocr.base.files import fsync, fsync_tree, make_folder, partial_path, write_text
from ovocr.base.plural import counted
from ovocr.dataset.layout import LabelledDataSet
from ovocr.trainer.backbone.vision_transformer import CONFIG_NAME, WEIGHTS_NAME
from ovocr.trainer.config.sections import RUN_CONFIG
from ovocr.trainer.export.measures import read_measures
from ovocr.trainer.export.model_card import licence_lines, model_card
from ovocr.trainer.export.onnx_model import ONNX_NAME, require_onnx, write_onnx
from ovocr.trainer.export.transformers_files import PREPROCESSOR_NAME, code_files, write_transformers_files
from ovocr.trainer.training.model import TrainedRun

CARD_NAME = "README.md"


@dataclass(frozen=True)
class ExportedEncoder:
    """The result of an export. step: number of steps of the checkpoint.

    onnx_difference: largest absolute difference of the ONNX model's outputs from torch's; None without ONNX.
    """

    folder: Path
    step: int
    onnx_difference: float | None

    def format(self) -> str:
        """Returns one line to print."""
        checked = ""
        if self.onnx_difference is not None:
            checked = f"; {ONNX_NAME} differs from torch by at most {self.onnx_difference:.0e}"
        return f"{self.folder}: backbone after {counted(self.step, 'step')}{checked}"


def export_encoder(
    run: Path,
    out: Path,
    step: int | Literal["best"] | None = None,
    *,
    onnx: bool = False,
    measures: Path | None = None,
    force: bool = False,
) -> ExportedEncoder:
    """Writes the backbone of a run into a folder: for `Backbone.from_pretrained`, transformers and, on request, ONNX.

    step: see ``TrainedRun.load``. onnx: whether to write an ONNX model, which is compared with the backbone. measures:
    JSON of ``ovocr eval`` of the same step, whose figures the model card gets. force: whether to replace the files of
    an earlier export in ``out``; other files in the folder stay.

    Raises UsageError if ``out`` exists and may not be replaced, and MissingExtraError without the packages for ONNX.
    """
    _check_out(out, force=force)
    if onnx:
        require_onnx()
    trained = TrainedRun.load(run, torch.device("cpu"), step)
    figures = None if measures is None else read_measures(measures, trained)
    backbone, difference = trained.model.backbone, None
    with _written_aside(out) as partial:
        backbone.save_pretrained(partial)
        write_transformers_files(partial, backbone.config)
        if onnx:
            print(f"{out}: writing {ONNX_NAME}, and comparing it with torch", file=sys.stderr, flush=True)
            difference = write_onnx(backbone, partial / ONNX_NAME)
        licence = licence_lines(out / CARD_NAME)  # what the user has added to an earlier one
        card = model_card(trained, figures, name=out.resolve().name, with_onnx=onnx, licence=licence)
        write_text(partial / CARD_NAME, card)
    return ExportedEncoder(out, trained.step, difference)


def _check_out(out: Path, *, force: bool) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file; choose a folder")
    if (out / RUN_CONFIG).exists():
        raise UsageError(f"{out}: is the folder of a run; choose another folder")
    if LabelledDataSet(out).manifest_path.exists():
        raise UsageError(f"{out}: is a labelled data set; choose another folder")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not force:
        raise UsageError(f"{out}: is not empty; choose another folder, or replace an earlier export in it with --force")
    is_export = all((out / name).is_file() for name in (CONFIG_NAME, CARD_NAME, *code_files()))
    if not is_export and not partial_path(out).is_dir():  # with it, an export was interrupted while it replaced files
        raise UsageError(f"{out}: has no earlier export that --force could replace; choose another folder")


def _exported_names() -> Iterator[str]:
    """Yields every name that an export may write. The configuration is the first: without it nothing is loaded."""
    yield from (CONFIG_NAME, WEIGHTS_NAME, PREPROCESSOR_NAME, CARD_NAME, ONNX_NAME, f"{ONNX_NAME}.data")
    yield from code_files()


@contextmanager
def _written_aside(out: Path) -> Iterator[Path]:
    """Yields an empty folder to write to, whose files are moved to ``out`` if the block succeeds.

    An earlier export is removed before, file by file, so that a kill leaves no mixture that can be loaded.
    """
    partial = partial_path(out)
    shutil.rmtree(partial, ignore_errors=True)
    make_folder(partial)
    try:
        yield partial
        fsync_tree(partial)
        if not out.exists():
            os.replace(partial, out)
        else:
            for name in _exported_names():
                (out / name).unlink(missing_ok=True)
            for name in reversed(list(_exported_names())):
                if (partial / name).exists():
                    make_folder((out / name).parent)
                    os.replace(partial / name, out / name)
                    fsync((out / name).parent)
        fsync(out.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
