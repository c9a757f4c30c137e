"""The best checkpoint: derived from the states of complete checkpoints, kept by pruning, found by --step best."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ovocr.base.errors import OvocrError
from ovocr.trainer.config.evaluation import EvaluationConfig
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.runs.best_checkpoint import SavedEvaluation, add_evaluation, best_checkpoint, read_evaluation
from ovocr.trainer.runs.checkpoint import complete_checkpoints, prune_checkpoints, read_state, save_checkpoint
from ovocr.trainer.runs.folder import RunFolder


def evaluated(
    value: float | None,
    images: int = 40,
    min_text_height: float = 8.0,
    crops: int = 0,
    crop_text_height: tuple[float, float] | None = None,
) -> SavedEvaluation:
    counts = {"ocr": {"receipts": images}}
    return SavedEvaluation(value, {"ocr": {"receipts": value}}, counts, min_text_height, crops, crop_text_height)


def save(folder: Path, step: int, evaluation: SavedEvaluation | None = None) -> Path:
    state: dict[str, Any] = {"step": step, **({} if evaluation is None else evaluation.to_state())}
    save_checkpoint(folder / f"{step:08d}", {"a": torch.ones(1)}, state, Ranks())
    return folder / f"{step:08d}"


def steps(folder: Path) -> list[int]:
    return [int(path.name) for path in complete_checkpoints(folder)]


def test_best_checkpoint_has_the_highest_word_auc(tmp_path: Path) -> None:
    assert best_checkpoint(tmp_path) is None
    for step, evaluation in enumerate(
        (None, evaluated(None), evaluated(0.6), evaluated(0.7), evaluated(0.7), evaluated(0.5), None), 1
    ):
        save(tmp_path, step, evaluation)
    assert best_checkpoint(tmp_path) == tmp_path / "00000004"
    assert read_evaluation(tmp_path / "00000004") == evaluated(0.7)
    assert read_evaluation(tmp_path / "00000007") is None
    (tmp_path / "00000004" / "state.json").unlink()  # an incomplete checkpoint
    assert best_checkpoint(tmp_path) == tmp_path / "00000005"


@pytest.mark.parametrize(
    "other",
    [
        evaluated(0.6, images=41),
        evaluated(0.6, min_text_height=12.0),
        evaluated(0.6, crops=2),
        evaluated(0.6, crop_text_height=(12.0, 48.0)),
    ],
)
def test_evaluations_with_other_settings_are_not_compared(tmp_path: Path, other: SavedEvaluation) -> None:
    save(tmp_path, 1, evaluated(0.9))
    save(tmp_path, 2, other)
    assert best_checkpoint(tmp_path) == tmp_path / "00000002"
    assert other.is_better(evaluated(0.9))
    assert not other.is_better(other)
    assert not evaluated(None, images=41).is_better(evaluated(0.9))


def test_evaluations_with_the_same_crops_are_compared(tmp_path: Path) -> None:
    """Also after their text heights were written to the state of a checkpoint and read again."""
    crops = {"crops": 4, "crop_text_height": (12.0, 48.5)}
    save(tmp_path, 1, evaluated(0.9, **crops))
    save(tmp_path, 2, evaluated(0.6, **crops))
    assert best_checkpoint(tmp_path) == tmp_path / "00000001"
    found = read_evaluation(tmp_path / "00000002")
    assert found == evaluated(0.6, **crops)
    settings = EvaluationConfig(**crops)
    assert found.is_of({"ocr": {"receipts": 40}}, settings)
    for other in ({"crops": 3}, {"crop_text_height": (12.0, 48.0)}, {"min_text_height": 9.0}):
        assert not found.is_of({"ocr": {"receipts": 40}}, settings.model_copy(update=other))
    assert not found.is_of({"ocr": {"receipts": 41}}, settings)


def test_evaluation_of_an_older_version_is_one_of_whole_images(tmp_path: Path) -> None:
    checkpoint = save(tmp_path, 3, evaluated(0.6))
    state = read_state(checkpoint)
    del state["evaluation"]["crops"], state["evaluation"]["crop_text_height"]
    (checkpoint / "state.json").write_text(json.dumps(state))
    assert read_evaluation(checkpoint) == evaluated(0.6)


def test_pruning_keeps_the_best_one(tmp_path: Path) -> None:
    for step, value in enumerate((0.5, 0.8, 0.6, 0.7, 0.75), 1):
        save(tmp_path, step, evaluated(value))
        prune_checkpoints(tmp_path, 2, [best_checkpoint(tmp_path)])
    assert steps(tmp_path) == [2, 4, 5]
    save(tmp_path, 6, evaluated(0.81))
    prune_checkpoints(tmp_path, 2, [best_checkpoint(tmp_path)])
    assert steps(tmp_path) == [5, 6]


def test_evaluation_is_added_to_a_complete_checkpoint(tmp_path: Path) -> None:
    checkpoint = save(tmp_path, 3)
    before = read_state(checkpoint)
    add_evaluation(checkpoint, evaluated(0.6))
    assert read_evaluation(checkpoint) == evaluated(0.6)
    after = read_state(checkpoint)
    del after["evaluation"]
    assert after == before


def test_changed_evaluation_is_named(tmp_path: Path) -> None:
    checkpoint = save(tmp_path, 3, evaluated(0.6))
    state = read_state(checkpoint)
    del state["evaluation"]["images"]
    (checkpoint / "state.json").write_text(json.dumps(state))
    with pytest.raises(OvocrError, match=r"00000003/state.json: evaluation: must have images, mean_word_auc, "):
        best_checkpoint(tmp_path)


def test_a_run_names_its_best_checkpoint(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    save(run.checkpoints, 1)
    with pytest.raises(
        OvocrError, match=r": no checkpoint has a word AUC, so none is the best; choose one by its step, or let the run"
    ):
        run.trained_checkpoint("best")
    save(run.checkpoints, 2, evaluated(0.6))
    save(run.checkpoints, 3, evaluated(0.55))
    assert run.trained_checkpoint("best") == run.checkpoint(2)
    assert run.trained_checkpoint() == run.checkpoint(3)
    assert run.trained_checkpoint(1) == run.checkpoint(1)
