"""Every mistake in a configuration is one line that names the file, the key and what is allowed."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest

from ovocr.base.errors import UsageError
from ovocr.trainer.config.file import dump_config, load_config
from ovocr.trainer.config.sections import (
    BackboneConfig,
    HeadConfig,
    LoaderConfig,
    LoopConfig,
    MarginConfig,
    OptimizerConfig,
    RunConfig,
)
from ovocr.trainer.config.settings import SettingError

SECTIONS = (LoopConfig, BackboneConfig, OptimizerConfig, LoaderConfig, HeadConfig, MarginConfig)
BASE = """\
[run]
output = "runs/demo"
steps = 100

[backbone]
preset = "base"

[optimizer]
lr = 1e-3
warmup_steps = 10

[heads.ocr]
data = ["DATA"]
global_batch = 16
"""


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """A small right configuration beside an empty, but labelled, data set."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "manifest.json").write_text("{}")
    path = tmp_path / "demo.toml"
    path.write_text(BASE.replace("DATA", str(data)))
    return path


def mistake(path: Path, *overrides: str) -> str:
    with pytest.raises(UsageError) as caught:
        load_config(path, overrides)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_defaults_and_preset(config_file: Path) -> None:
    config = load_config(config_file)
    assert config.run == LoopConfig(output=Path("runs/demo"), steps=100)
    assert config.run.precision == "auto"
    assert config.backbone == BackboneConfig(
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        image_size=448,
        patch_size=14,
    )
    assert config.backbone.head_dim == 64
    assert config.optimizer.betas == (0.9, 0.999)
    assert config.loader == LoaderConfig(workers=0, prefetch=2)
    assert list(config.heads) == ["ocr"]
    assert config.heads["ocr"].data == (config_file.parent / "data",)
    assert config.heads["ocr"].margin == MarginConfig(scale=64.0, m1=1.0, m2=0.5, m3=0.0)
    assert config.heads["ocr"].num_classes is None


@pytest.mark.parametrize(
    ("preset", "sizes"),
    [("large", (1024, 4096, 24, 16)), ("huge", (1280, 5120, 32, 20)), ("base", (768, 3072, 12, 12))],
)
def test_presets_and_single_sizes_over_them(config_file: Path, preset: str, sizes: tuple[int, ...]) -> None:
    backbone = load_config(config_file, [f"backbone.preset={preset}", "backbone.image_size=224"]).backbone
    chosen = (
        backbone.hidden_size,
        backbone.intermediate_size,
        backbone.num_hidden_layers,
        backbone.num_attention_heads,
    )
    assert chosen == sizes
    assert backbone.image_size == 224
    assert backbone.patch_size == 14


def test_overrides_are_toml_or_else_text(config_file: Path) -> None:
    config = load_config(
        config_file,
        [
            "run.output=/tmp/an other/x",
            "run.tensorboard=false",
            "optimizer.lr=2",
            "optimizer.betas=[0.5, 0.75]",
            "heads.ocr.margin.m2=0.3",
            "heads.ocr.margin.gradient=straight_through",
            "heads.second.global_batch=3",
            f'heads.second.data=["{config_file.parent / "data"}"]',
            "loader.workers = 4",
        ],
    )
    assert config.run.output == Path("/tmp/an other/x")
    assert config.run.tensorboard is False
    assert config.optimizer.lr == 2.0
    assert isinstance(config.optimizer.lr, float)
    assert config.optimizer.betas == (0.5, 0.75)
    assert config.heads["ocr"].margin == MarginConfig(m2=0.3, gradient="straight_through")
    assert config.heads["second"].global_batch == 3
    assert config.loader.workers == 4


def test_the_later_override_counts(config_file: Path) -> None:
    assert load_config(config_file, ["run.steps=20", "run.steps=30"]).run.steps == 30


def test_a_dumped_configuration_loads_back_equal(config_file: Path, tmp_path: Path) -> None:
    odd = 'a "quoted" \\ name\twith\x7f每'
    (tmp_path / odd).mkdir()
    (tmp_path / odd / "manifest.json").write_text("{}")
    config = load_config(config_file, ["optimizer.lr=5e-05", "heads.ocr.margin.filter_threshold=0.75"])
    head = replace(config.heads["ocr"], data=(tmp_path / odd, tmp_path / "data"), num_classes=365_187)
    config = replace(config, heads={"second": head, "ocr": config.heads["ocr"]})
    dumped = tmp_path / "resolved.toml"
    dumped.write_text(dump_config(config), encoding="utf-8")
    again = load_config(dumped)
    assert again == config
    assert list(again.heads) == ["second", "ocr"]
    assert "image_size = 448  # side of the input; a preset sets it [pixels]\n" in dumped.read_text(encoding="utf-8")


def test_a_run_that_has_begun_needs_no_start_any_more(config_file: Path, tmp_path: Path) -> None:
    settings = ["backbone.init_from=/gone", "heads.ocr.init_from=/gone", f"run.output={tmp_path / 'run'}"]
    assert mistake(config_file, *settings) == "--set: heads.ocr.init_from: /gone: not a training run (no config.toml)"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").touch()
    assert load_config(config_file, settings).backbone.init_from == Path("/gone")


def test_a_finished_run_s_configuration_loads_without_its_data(config_file: Path) -> None:
    (config_file.parent / "data" / "manifest.json").unlink()
    config = load_config(config_file, ["backbone.init_from=/gone"], check_paths=False)
    assert config.backbone.init_from == Path("/gone")


def test_every_setting_is_documented() -> None:
    for section in (*SECTIONS, RunConfig):
        for field in fields(section):
            assert field.metadata["doc"], f"{section.__name__}.{field.name}"


def test_settings_check_themselves_however_they_are_made(config_file: Path) -> None:
    with pytest.raises(SettingError, match="sample_rate: 0 is out of range: more than 0, at most 1"):
        HeadConfig(data=(Path("x"),), global_batch=1, sample_rate=0)
    config = load_config(config_file)
    short = replace(config.run, steps=5)
    with pytest.raises(SettingError, match=r"optimizer.warmup_steps: 10 is more than run.steps, 5"):
        replace(config, run=short)


def test_settings_are_frozen(config_file: Path) -> None:
    config = load_config(config_file)
    assert all(is_dataclass(section) for section in SECTIONS)
    with pytest.raises(AttributeError):
        config.run.steps = 3  # type: ignore[misc]


# One --set each; what is wrong about it.
OVERRIDE_MISTAKES = {
    "run.stepz=3": "run.stepz: unknown key; did you mean steps?",
    "heads.ocr.margin.q=1": "heads.ocr.margin.q: unknown key; known are scale, m1, m2, m3, filter_threshold, gradient",
    "optimiser.adam.lr=1": "optimiser: unknown key; did you mean optimizer?",
    "backbone.presett=large": "backbone.presett: unknown key; did you mean preset?",
    "backbone.preset=small": 'backbone.preset: \'small\' is not allowed; allowed are "base", "large", "huge"',
    "backbone.image_size=450": "backbone.image_size: 450 is not divisible by patch_size, 14",
    "backbone.hidden_size=770": "backbone.hidden_size: 770 is not divisible by num_attention_heads, 12",
    "backbone.num_attention_heads=16": "backbone.num_attention_heads: 16 heads of 48 channels: "
    "hidden_size / num_attention_heads must be a multiple of 32",
    "backbone.num_hidden_layers=0": "backbone.num_hidden_layers: 0 is out of range: at least 1",
    "backbone.rope_theta=1": "backbone.rope_theta: 1.0 is out of range: more than 1",
    "backbone.init_from=/no/such": "backbone.init_from: /no/such/config.json: no such file",
    "run.steps=0": "run.steps: 0 is out of range: at least 1, at most 1000000000",
    "run.steps=1.5": "run.steps: a whole number is expected, not 1.5",
    "run.steps=true": "run.steps: a whole number is expected, not true",
    "run.steps=many": 'run.steps: a whole number is expected, not "many"',
    "run.seed=-1": "run.seed: -1 is out of range: at least 0, less than 9223372036854775808",
    "run.output=3": "run.output: a path is expected, not 3",
    'run.output=""': "run.output: the text is empty",
    "run.tensorboard=1": "run.tensorboard: true or false is expected, not 1",
    "run.precision=fp16": 'run.precision: "fp16" is not allowed; allowed are "auto", "bf16", "float32"',
    "run.device=1": 'run.device: 1 is not allowed; allowed are "auto", "cpu", "cuda"',
    "optimizer.lr=nan": "optimizer.lr: nan is not a finite number",
    "optimizer.lr=false": "optimizer.lr: a number is expected, not false",
    "optimizer.betas=0.9": "optimizer.betas: a list is expected, not 0.9",
    "optimizer.betas=[0.9]": "optimizer.betas: 2 values are expected, not 1",
    'optimizer.betas=[0.9, "x"]': 'optimizer.betas[1]: a number is expected, not "x"',
    "optimizer.betas=[0.9, 1]": "optimizer.betas: 1.0 is out of range: at least 0, less than 1",
    "optimizer.warmup_steps=101": "optimizer.warmup_steps: 101 is more than run.steps, 100",
    "loader.workers=-1": "loader.workers: -1 is out of range: at least 0",
    "loader.prefetch=0": "loader.prefetch: 0 is out of range: at least 1",
    "heads.ocr=[]": "heads.ocr: a section [heads.ocr] is expected, not []",
    "heads.OCR.global_batch=1": "heads.OCR.data: missing: labelled data sets: folders made by build-labels or "
    "pack-labels; video: lists of videos",
    "heads.ocr.kind=audio": 'heads.ocr.kind: "audio" is not allowed; allowed are "image", "ocr", "video"',
    "heads.ocr.data=/x": 'heads.ocr.data: a list is expected, not "/x"',
    "heads.ocr.data=[]": "heads.ocr.data: an empty list: at least one value is needed",
    "heads.ocr.data=[1]": "heads.ocr.data[0]: a path is expected, not 1",
    'heads.ocr.data=["/no/such"]': "heads.ocr.data: /no/such: not a labelled data set (no manifest.json); "
    "make one with `ovocr build-labels`",
    "heads.ocr.global_batch=0": "heads.ocr.global_batch: 0 is out of range: at least 1, at most 16777216",
    "heads.ocr.labels_per_sample=101": "heads.ocr.labels_per_sample: 101 is more than labels_stored, 100",
    "heads.ocr.label_select=-1": "heads.ocr.label_select: -1 is out of range: at least 0",
    "heads.ocr.sample_rate=1.5": "heads.ocr.sample_rate: 1.5 is out of range: more than 0, at most 1",
    "heads.ocr.sample_rate=0": "heads.ocr.sample_rate: 0.0 is out of range: more than 0, at most 1",
    "heads.ocr.num_classes=16777217": "heads.ocr.num_classes: 16777217 is out of range: at least 1, at most 16777216",
    "heads.ocr.image_size=450": "heads.ocr.image_size: 450 is not divisible by backbone.patch_size, 14",
    "heads.ocr.frames=8": 'heads.ocr.frames: only heads of kind "video" have it; this one is of kind "ocr"',
    "heads.ocr.sampled_frames=64": 'heads.ocr.sampled_frames: only heads of kind "video" have it; '
    'this one is of kind "ocr"',
    "heads.ocr.mixing_weights=[1, 2]": "heads.ocr.mixing_weights: 2 for 1 data sets",
    "heads.ocr.mixing_weights=[0]": "heads.ocr.mixing_weights: 0.0 is out of range: more than 0",
    "heads.ocr.crop_scale=[0.5, 0.2]": "heads.ocr.crop_scale: [0.5, 0.2]: the smallest comes first",
    "heads.ocr.crop_scale=[0, 1]": "heads.ocr.crop_scale: 0.0 is out of range: more than 0, at most 1",
    "heads.ocr.crop_share=0.5": "heads.ocr.crop_share: only with crop_scale, without which pictures stay whole",
    "heads.ocr.mixing_weights=1": "heads.ocr.mixing_weights: a list is expected, not 1",
    "heads.ocr.kind=video": "heads.ocr.num_classes: missing: a list of videos does not say how many classes there are",
    "heads.ocr.optimizer=adam": 'heads.ocr.optimizer: "adam" is not allowed; allowed are "adamw", "sgd"',
    "heads.ocr.momentum=1": "heads.ocr.momentum: 1.0 is out of range: at least 0, less than 1",
    "heads.ocr.momentum=0.5": 'heads.ocr.momentum: only optimizer "sgd" has it; this is "adamw"',
    "heads.ocr.global_batch=99999999999": "heads.ocr.global_batch: 99999999999 is out of range: "
    "at least 1, at most 16777216",
    'run.output="a\\u0000b"': "run.output: the text has a NUL character in it",
    "heads.ocr.init_from=/no/such": "heads.ocr.init_from: /no/such: not a training run (no config.toml)",
    "heads.ocr.labels_stored=4": "heads.ocr.labels_per_sample: 8 is more than labels_stored, 4",
    "heads.ocr.loss_weight=0": "heads.ocr.loss_weight: 0.0 is out of range: more than 0, at most 1000000",
    "run.passes_per_step=3": "heads.ocr.global_batch: 16 is not divisible by run.passes_per_step, 3",
    "run.passes_per_step=0": "run.passes_per_step: 0 is out of range: at least 1",
    "run.backbone_parallel=fsdp": 'run.backbone_parallel: "fsdp" is not allowed; allowed are "ddp", "fsdp2"',
    "run.compile=1": "run.compile: true or false is expected, not 1",
    "run.collective_timeout_s=0": "run.collective_timeout_s: 0.0 is out of range: more than 0",
    "heads.ocr.margin.scale=0": "heads.ocr.margin.scale: 0.0 is out of range: more than 0, at most 100",
    "heads.ocr.margin.m2=4": "heads.ocr.margin.m2: 4.0 is out of range: at least 0, at most 3.14",
    "heads.ocr.margin.filter_threshold=1": "heads.ocr.margin.filter_threshold: 1.0 is out of range: "
    "more than 0, less than 1",
    "heads.ocr.margin.gradient=soft": 'heads.ocr.margin.gradient: "soft" is not allowed; '
    'allowed are "exact", "straight_through"',
}
FOUND_AT_ANOTHER_KEY = {"heads.ocr.kind=video", "heads.ocr.labels_stored=4", "run.passes_per_step=3"}


@pytest.mark.parametrize("override", OVERRIDE_MISTAKES)
def test_a_mistake_in_an_override_is_one_line(config_file: Path, override: str) -> None:
    problem = OVERRIDE_MISTAKES[override]
    elsewhere = override in FOUND_AT_ANOTHER_KEY  # which stands in the file
    assert mistake(config_file, override) == f"{config_file if elsewhere else '--set'}: {problem}"


# Several --set that make a video head of it; what is wrong then.
VIDEO_MISTAKES = [
    ((), "heads.ocr.data: DATA: no such file; a list of videos is a text file, a line a video: path and class ids"),
    (("heads.ocr.sampled_frames=60",), "heads.ocr.sampled_frames: 60 is not divisible by frames, 8"),
    (("heads.ocr.frames=5",), "heads.ocr.sampled_frames: 64 is not divisible by frames, 5"),
    (
        ("heads.ocr.sampled_frames=128",),
        "heads.ocr.sampled_frames: 128 is more than backbone.rope_temporal_size, 64",
    ),
    (("heads.ocr.labels_per_sample=11",), "heads.ocr.labels_per_sample: 11 is more than labels_stored, 10"),
]


@pytest.mark.parametrize(("overrides", "problem"), VIDEO_MISTAKES)
def test_a_mistake_in_a_video_head_is_one_line(config_file: Path, overrides: tuple[str, ...], problem: str) -> None:
    video = ("heads.ocr.kind=video", "heads.ocr.num_classes=50")
    expected = problem.replace("DATA", str(config_file.parent / "data"))
    assert mistake(config_file, *video, *overrides).split(": ", 1)[1] == expected


def test_a_list_of_videos_may_follow(config_file: Path) -> None:
    videos = config_file.parent / "videos.txt"
    videos.write_text("a.mp4 1 2 3\n")
    video = ("heads.ocr.kind=video", "heads.ocr.num_classes=50", f'heads.ocr.data=["{videos}"]')
    head = load_config(config_file, video).heads["ocr"]
    assert (head.stored, head.clip_frames, head.video_frames) == (10, 8, 64)
    assert load_config(config_file, ["heads.ocr.kind=image"]).heads["ocr"].stored == 10
    assert load_config(config_file).heads["ocr"].stored == 100


# What is replaced in the file, by what; what is wrong then.
FILE_MISTAKES = [
    ("steps = 100\n", "", "run.steps: missing: length of the run [optimizer steps]"),
    ("steps = 100", "steps = 5", "optimizer.warmup_steps: 10 is more than run.steps, 5"),
    ("[optimizer]\nlr = 1e-3\nwarmup_steps = 10\n", "", "optimizer.lr: missing: peak learning rate"),
    ('preset = "base"', "", "backbone.hidden_size: missing: width of a token; a preset sets it [channels]"),
    (
        "heads.ocr",
        "heads.OCR",
        "heads.OCR: a head's name is a lower-case letter, then lower-case letters, digits and _",
    ),
    ("[heads.ocr]", "[head.ocr]", "head: unknown key; did you mean heads?"),
    ("[run]", "run = 3\n[other]", "other: unknown key; known are run, backbone, optimizer, loader, heads"),
    ("[run]", "run = 3\n[loader]", "run: a section [run] is expected, not 3"),
    ("[run]", "[run", "not valid TOML: "),
    ("lr = 1e-3", "lr = 1e-3\nlr = 2e-3", "not valid TOML: Cannot overwrite a value (at line 10, column 10)"),
    ("lr = 1e-3", "lr = 1979-05-27", "optimizer.lr: a number is expected, not 1979-05-27"),
]


@pytest.mark.parametrize(("old", "new", "problem"), FILE_MISTAKES)
def test_a_mistake_in_the_file_is_one_line(config_file: Path, old: str, new: str, problem: str) -> None:
    text = config_file.read_text()
    assert old in text
    config_file.write_text(text.replace(old, new))
    message = mistake(config_file)
    assert message.startswith(f"{config_file}: {problem}")
    if not problem.endswith(" "):
        assert message == f"{config_file}: {problem}"
    assert "\n" not in message


def test_no_heads(config_file: Path) -> None:
    config_file.write_text(config_file.read_text().split("[heads.ocr]")[0])
    assert mistake(config_file) == f"{config_file}: heads: none; at least one section [heads.NAME] is needed"


def test_invalid_toml_names_the_line(config_file: Path) -> None:
    config_file.write_text("[run]\nsteps = \n")
    assert "(at line 2, column 9)" in mistake(config_file)


@pytest.mark.parametrize(
    ("break_file", "problem"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read: Is a directory"),
        (lambda path: path.write_bytes(b"[run]\n# \xff"), "not UTF-8 text: byte 8"),
    ],
)
def test_an_unreadable_file(config_file: Path, break_file: Callable[[Path], object], problem: str) -> None:
    break_file(config_file)
    assert mistake(config_file) == f"{config_file}: {problem}"


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("run.steps", "section.key=value is expected, such as run.steps=1000"),
        ("run=3", "section.key=value is expected, such as run.steps=1000"),
        ("run..steps=3", "section.key=value is expected, such as run.steps=1000"),
        ("run.steps.most=3", "run.steps is no section"),
    ],
)
def test_an_override_that_names_no_setting(config_file: Path, override: str, problem: str) -> None:
    assert mistake(config_file, override) == f"--set {override}: {problem}"


def test_a_line_end_in_an_override_sets_nothing_else(config_file: Path) -> None:
    assert mistake(config_file, "run.steps=3\nseed=1") == (
        '--set: run.steps: a whole number is expected, not "3\\nseed=1"'
    )
