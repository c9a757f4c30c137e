"""The configurations in configs/: the two stages match the method, and reading.toml its experiment."""

from pathlib import Path

import pytest

from ovocr.trainer.config.file import load_config

CONFIGS = Path(__file__).resolve().parents[3] / "configs"

# Settings of the two stages for each kind of head: stored and drawn tags, classes, input size, batch per GPU.
TABLE = {
    "image": (10, 8, 2_000_000, 448, 16),
    "ocr": (100, 8, 365_187, 448, 8),
    "video": (10, 8, 400_000, 224, 16),
}


@pytest.mark.parametrize(("stage", "heads"), [("stage1", ["image"]), ("stage2", ["image", "ocr", "video"])])
def test_configurations_match_the_method(stage: str, heads: list[str]) -> None:
    config = load_config(CONFIGS / f"{stage}.toml", check_paths=False)
    assert list(config.heads) == heads
    assert (config.backbone.hidden_size, config.backbone.num_hidden_layers, config.backbone.patch_size) == (
        1024,
        24,
        14,
    )
    assert config.run.passes_per_step == 4
    assert (config.optimizer.clip_norm, config.optimizer.decay_power) == (5.0, 2.0)
    assert config.optimizer.lr == {"stage1": 1e-3, "stage2": 5e-5}[stage]
    for name, head in config.heads.items():
        found = (
            head.labels_stored,
            head.labels_per_sample,
            head.num_classes,
            head.image_size,
            head.global_batch // (4 * 64),
        )
        assert (head.kind, found) == (name, TABLE[name])
        assert (head.sample_rate, head.loss_weight, head.sampling) == (0.1, 1.0, "independent")
        assert (head.margin.scale, head.margin.m1, head.margin.m2, head.margin.m3) == (64.0, 1.0, 0.5, 0.0)
    if stage == "stage2":
        samples = sum(head.global_batch for head in config.heads.values())
        assert samples * config.run.steps == 320_000_000
        assert config.backbone.init_from == config.heads["image"].init_from == Path("runs/stage1")
        video = config.heads["video"]
        assert (video.frames, video.sampled_frames) == (8, 64)


def test_the_reading_configuration_begins_with_single_words() -> None:
    config = load_config(CONFIGS / "reading.toml", check_paths=False)
    head = config.heads["ocr"]
    assert (head.crop_text_height_start, head.crop_context_start) == ((64.0, 128.0), (0.0, 0.0))
    assert head.crop_text_height_start[0] == config.backbone.image_size
    assert 0.6 < head.crop_text_height_steps / config.run.steps < 0.7
