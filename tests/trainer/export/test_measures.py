"""The measures of a model card: files with other content than ovocr writes are refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ovocr.base.errors import OvocrError, UsageError
from ovocr.trainer.export.measures import measures_of_run, read_measures
from ovocr.trainer.runs.checkpoint import checkpoint_hash

NO_FIGURE = {"value": None, "low": None, "high": None, "classes": 0}
FIGURE = {"value": 0.75, "low": 0.5, "high": 1, "classes": 3}


@pytest.fixture
def trained(tmp_path: Path) -> Any:
    (tmp_path / "state.json").write_text('{"step": 4}')
    folder = SimpleNamespace(root=tmp_path, checkpoint=lambda step: tmp_path, metrics_path=tmp_path / "metrics.jsonl")
    settings = SimpleNamespace(evaluation=SimpleNamespace(crops=0, min_text_height=8.0))
    return SimpleNamespace(step=4, folder=folder, config=settings)


def content(root: Path) -> dict[str, Any]:
    head = {"images": 24, "word_auc": FIGURE, "word_map": NO_FIGURE, "trained_on": {"images": None}}
    head |= {"recall@10": 0.5, "prior_recall@10": 0.25}
    own = {"step": 4, "checkpoint": checkpoint_hash(root), "crops": 0, "min_text_height": 8.0}
    return own | {"data": ["a/labels"], "heads": {"ocr": head}}


def test_measures_are_read(tmp_path: Path, trained: Any) -> None:
    path = tmp_path / "measures.json"
    path.write_text(json.dumps(content(tmp_path)))
    (row,) = read_measures(path, trained).heads
    assert (row.data, row.word_auc, row.word_map, row.recall) == ("labels", FIGURE, NO_FIGURE, (0.5, 0.25))


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.update(crops="two"),
        lambda found: found.update(crops=[]),
        lambda found: found.update(min_text_height=True),
        lambda found: found["heads"]["ocr"].update(images=-1),
        lambda found: found["heads"]["ocr"].update({"recall@10": None}),
        lambda found: found["heads"]["ocr"].update(trained_on={"images": 0.5}),
        lambda found: found["heads"]["ocr"].update(word_auc=[1]),
        lambda found: found["heads"]["ocr"].update(word_auc={**FIGURE, "high": None}),
        lambda found: found["heads"]["ocr"].update(word_map={**FIGURE, "value": "0.5"}),
        lambda found: found["heads"]["ocr"].update(word_map={"value": 0.5}),
    ],
)
def test_other_content_is_refused(tmp_path: Path, trained: Any, change: Callable[[Any], None]) -> None:
    path, found = tmp_path / "measures.json", content(tmp_path)
    change(json_copy := json.loads(json.dumps(found)))
    path.write_text(json.dumps(json_copy))
    with pytest.raises(UsageError, match=f"^--measures {path}: is not the JSON that `ovocr eval --json` writes$"):
        read_measures(path, trained)


@pytest.mark.parametrize(
    "line",
    [
        b'{"step": 3, "evaluation": {"ocr": {"labels": {"images": "x", "word_auc": {}, "word_map": {}}}}}\n',
        b'{"step": 3, "evaluation": []}\n',
        b"\xb4\n",
    ],
)
def test_metrics_of_other_content_are_refused(trained: Any, line: bytes) -> None:
    trained.folder.metrics_path.write_bytes(line)
    with pytest.raises(OvocrError, match="the evaluation after step 4 cannot be read: "):
        measures_of_run(trained)
