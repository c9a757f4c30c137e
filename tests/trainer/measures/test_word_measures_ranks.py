"""The same measures on 1, 2 and 3 ranks: real processes over gloo."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ovocr.trainer.measures.image_tags import ImageTags
from ovocr.trainer.measures.word_measures import OwnCenters, measure_words
from ovocr.vocab.word_script import SCRIPTS

Case = tuple[torch.Tensor, ImageTags, torch.Tensor, dict[str, Any]]


def script(class_id: int) -> str:
    return SCRIPTS[class_id % 3]


def case(images: int, classes: int, number: int, **options: Any) -> Case:
    random = np.random.default_rng(number)
    own = [np.flatnonzero(random.random(classes) < 0.3) for _ in range(images)]
    heights = [random.choice([4.0, 7, 9, 30, np.nan], len(ids)) for ids in own]
    embeddings = torch.from_numpy(random.normal(size=(images, 13)).astype(np.float32))
    weight = torch.from_numpy(random.normal(size=(classes, 13)).astype(np.float32))
    return embeddings, ImageTags.join(zip(own, heights, strict=True)), weight, {"replicates": 50, **options}


def assert_close(found: Any, wanted: Any) -> None:
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key in wanted:
            assert_close(found[key], wanted[key])
    else:
        assert found == (wanted if wanted is None or isinstance(wanted, int) else pytest.approx(wanted, rel=1e-12))


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_agree_with_a_single_rank(world: int, tmp_path: Path) -> None:
    cases = [
        case(70, 41, 0, class_counts=np.arange(41) ** 2, script_of_class=script, seed=3),
        case(70, 41, 1, groups_N=np.arange(70) // 5, min_text_height=10.0),
        case(60, 2, 2),  # the third rank has no class
    ]
    constant = case(40, 31, 3)
    cases.append((constant[0][:1].repeat(40, 1), *constant[1:]))
    diverged = case(30, 20, 4)
    diverged[2][-1, 0] = torch.nan  # a center of the last rank
    torch.save([*cases, diverged], tmp_path / "cases.pt")
    file = Path(__file__).with_name("rank_process.py")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}  # the cases name a function of this file
    ranks = [
        subprocess.Popen(
            [sys.executable, str(file), str(rank), str(world), str(tmp_path)], stderr=subprocess.PIPE, env=environment
        )
        for rank in range(world)
    ]
    errors = [process.communicate(timeout=120)[1] for process in ranks]
    assert [process.returncode for process in ranks] == [0] * world, errors
    for rank in range(world):
        *results, last = torch.load(tmp_path / f"rank-{rank}.pt", weights_only=False)
        assert last == "embeddings or class centers are NaN or infinite: the training run diverged"
        for found, (embeddings, tags, weight, options) in zip(results, cases, strict=True):
            wanted = measure_words(embeddings, tags, OwnCenters(weight, 0, len(weight)), **options).to_json()
            assert wanted["word_auc"]["classes"] > 0
            assert_close(found, wanted)
        assert (results[-1]["word_auc"]["value"], results[-1]["word_auc"]["high"]) == (0.5, 0.5)
        assert results[-1]["word_map"]["value"] == results[-1]["word_map"]["chance"]
