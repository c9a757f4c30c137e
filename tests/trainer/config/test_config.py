"""A mistake in a configuration is one line with the file, the key, the value and the allowed values."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from ovocr.base.errors import UsageError
from ovocr.trainer.config.evaluation import EvaluationConfig
from ovocr.trainer.config.file import load_config
from ovocr.trainer.config.heads import (
    HEAD_KINDS,
    ImageHeadConfig,
    MarginConfig,
    OcrHeadConfig,
    VideoHeadConfig,
)
from ovocr.trainer.config.parsing import SettingError, parse
from ovocr.trainer.config.sections import BackboneConfig, LoaderConfig, LoopConfig, OptimizerConfig, RunConfig
from ovocr.trainer.config.toml import dump_config

SECTIONS = (
    *(LoopConfig, BackboneConfig, OptimizerConfig, LoaderConfig, EvaluationConfig),
    *(*HEAD_KINDS.values(), MarginConfig),
)
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
    """Writes a small valid configuration next to an empty data set."""
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
    assert config.evaluation == EvaluationConfig(
        data=(),
        every=0,
        images=None,
        crops=0,
        groups=None,
        min_text_height=8.0,
        replicates=1000,
    )
    assert list(config.heads) == ["ocr"]
    assert config.heads["ocr"].data == (config_file.parent / "data",)
    assert config.heads["ocr"].margin == MarginConfig(scale=64.0, m1=1.0, m2=0.5, m3=0.0)
    assert config.heads["ocr"].num_classes is None


@pytest.mark.parametrize(
    ("preset", "sizes"),
    [("large", (1024, 4096, 24, 16)), ("huge", (1280, 5120, 32, 20)), ("base", (768, 3072, 12, 12))],
)
def test_a_size_takes_precedence_over_the_preset(config_file: Path, preset: str, sizes: tuple[int, ...]) -> None:
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


def test_override_that_is_not_toml_is_text(config_file: Path) -> None:
    config = load_config(
        config_file,
        [
            "run.output=/tmp/an other/x",
            "run.compile=true",
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
    assert config.run.compile is True
    assert config.optimizer.lr == 2.0
    assert isinstance(config.optimizer.lr, float)
    assert config.optimizer.betas == (0.5, 0.75)
    assert config.heads["ocr"].margin == MarginConfig(m2=0.3, gradient="straight_through")
    assert config.heads["second"].global_batch == 3
    assert config.loader.workers == 4


@pytest.mark.parametrize(("old", "trackers"), [("true", ("tensorboard",)), ("false", ())])
def test_the_key_tensorboard_of_older_runs_is_translated(
    config_file: Path, tmp_path: Path, old: str, trackers: tuple[str, ...]
) -> None:
    assert load_config(config_file, [f"run.tensorboard={old}"]).tracking.trackers == trackers
    config_file.write_text(config_file.read_text().replace("[run]\n", f"[run]\ntensorboard = {old}\n", 1))
    config = load_config(config_file)
    assert config.tracking.trackers == trackers
    again = tmp_path / "again.toml"
    again.write_text(dump_config(config))
    assert "tensorboard = " not in again.read_text()
    assert load_config(again) == config
    with pytest.raises(
        UsageError, match=r"run\.tensorboard: replaced by tracking\.trackers, a list of names; leave it"
    ):
        load_config(config_file, ['tracking.trackers=["wandb"]'])


def test_last_override_takes_precedence(config_file: Path) -> None:
    assert load_config(config_file, ["run.steps=20", "run.steps=30"]).run.steps == 30


def test_dumped_configuration_loads_back_equal(config_file: Path, tmp_path: Path) -> None:
    odd = 'a "quoted" \\ name\twith\x7f每'
    (tmp_path / odd).mkdir()
    (tmp_path / odd / "manifest.json").write_text("{}")
    config = load_config(config_file, ["optimizer.lr=5e-05", "heads.ocr.margin.filter_threshold=0.75"])
    head = config.heads["ocr"].model_copy(update={"data": (tmp_path / odd, tmp_path / "data"), "num_classes": 365_187})
    config = config.model_copy(update={"heads": {"second": head, "ocr": config.heads["ocr"]}})
    dumped = tmp_path / "resolved.toml"
    dumped.write_text(dump_config(config), encoding="utf-8")
    again = load_config(dumped)
    assert again == config
    assert list(again.heads) == ["second", "ocr"]
    assert "image_size = 448  # Side of the input, in pixels; a preset sets it\n" in dumped.read_text(encoding="utf-8")


def test_dump_writes_defaults_that_have_an_effect(config_file: Path) -> None:
    text = dump_config(load_config(config_file))
    assert "labels_stored = 100  # " in text
    assert "crop_ratio" not in text
    assert "momentum = " not in text
    crops = ["heads.ocr.crop_scale=[0.2, 1.0]", "heads.ocr.crop_share=0.5", "heads.ocr.optimizer=sgd"]
    text = dump_config(load_config(config_file, crops))
    for line in ("crop_share = 0.5  # ", "crop_ratio = [0.75, 1.3333333333333333]  # ", "momentum = 0.9  # "):
        assert line in text


def test_settings_of_blocks(config_file: Path, tmp_path: Path) -> None:
    config = load_config(config_file, ["heads.ocr.order=blocks", "heads.ocr.window_blocks=7"])
    head = config.heads["ocr"]
    assert isinstance(head, OcrHeadConfig)
    assert (head.order, head.block_records, head.window_blocks) == ("blocks", 256, 7)
    dumped = tmp_path / "resolved.toml"
    dumped.write_text(dump_config(config), encoding="utf-8")
    assert load_config(dumped) == config
    assert "block_records = 256  # " in dumped.read_text(encoding="utf-8")
    assert "block_records" not in dump_config(load_config(config_file))
    for key in ("block_records", "window_blocks"):
        found = mistake(config_file, "heads.ocr.order=blocks", f"heads.ocr.{key}=0")
        assert found == f"--set: heads.ocr.{key}: must be greater than or equal to 1, not 0"


def test_resumed_run_does_not_need_init_from(config_file: Path, tmp_path: Path) -> None:
    settings = ["backbone.init_from=/gone", "heads.ocr.init_from=/gone", f"run.output={tmp_path / 'run'}"]
    assert mistake(config_file, *settings) == "--set: heads.ocr.init_from: /gone: not a training run (no config.toml)"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").touch()
    assert load_config(config_file, settings).backbone.init_from == Path("/gone")


def test_configuration_of_a_finished_run_loads_without_its_data(config_file: Path) -> None:
    (config_file.parent / "data" / "manifest.json").unlink()
    config = load_config(config_file, ["backbone.init_from=/gone"], check_paths=False)
    assert config.backbone.init_from == Path("/gone")


def test_every_setting_is_documented() -> None:
    for section in SECTIONS:
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"


def test_parse_checks_one_section() -> None:
    with pytest.raises(SettingError, match=r"^sample_rate: must be greater than 0, not 0$") as caught:
        parse(OcrHeadConfig, {"data": ["x"], "global_batch": 1, "sample_rate": 0})
    assert caught.value.key == "sample_rate"
    assert parse(OcrHeadConfig, {"data": ["x"], "global_batch": 1}).data == (Path("x"),)


def test_settings_are_checked_when_they_are_made(config_file: Path) -> None:
    with pytest.raises(ValidationError, match=r"sample_rate\n.*greater than 0"):
        OcrHeadConfig(data=(Path("x"),), global_batch=1, sample_rate=0)
    config = load_config(config_file)
    short = config.run.model_copy(update={"steps": 5})
    with pytest.raises(ValidationError, match=r"optimizer.warmup_steps: 10 is more than run.steps, 5"):
        RunConfig(**{**dict(config), "run": short})


def test_settings_are_frozen(config_file: Path) -> None:
    config = load_config(config_file)
    assert all(section.model_config["frozen"] for section in SECTIONS)
    with pytest.raises(ValidationError, match="frozen"):
        config.run.steps = 3  # type: ignore[misc]


# One --set each, with the error.
OVERRIDE_MISTAKES = {
    "run.stepz=3": "run.stepz: unknown key; did you mean steps?",
    "heads.ocr.margin.q=1": "heads.ocr.margin.q: unknown key; known are scale, m1, m2, m3, filter_threshold, gradient",
    "optimiser.adam.lr=1": "optimiser: unknown key; did you mean optimizer?",
    "backbone.presett=large": "backbone.presett: unknown key; did you mean preset?",
    "backbone.preset=small": 'backbone.preset: must be "base", "large" or "huge", not "small"',
    "backbone.image_size=450": "backbone.image_size: 450 is not divisible by patch_size, 14",
    "backbone.hidden_size=770": "backbone.hidden_size: 770 is not divisible by num_attention_heads, 12",
    "backbone.num_attention_heads=16": "backbone.num_attention_heads: 16 heads of 48 channels: hidden_size / "
    "num_attention_heads must be a multiple of 32",
    "backbone.num_hidden_layers=0": "backbone.num_hidden_layers: must be greater than or equal to 1, not 0",
    "backbone.rope_theta=1": "backbone.rope_theta: must be greater than 1, not 1",
    "backbone.init_from=/no/such": "backbone.init_from: /no/such/config.json: no such file",
    "run.steps=0": "run.steps: must be greater than or equal to 1, not 0",
    "run.steps=1.5": "run.steps: must be a valid integer, not 1.5",
    "run.steps=true": "run.steps: must be a valid integer, not true",
    "run.steps=many": 'run.steps: must be a valid integer, not "many"',
    "run.seed=-1": "run.seed: must be greater than or equal to 0, not -1",
    "run.output=3": "run.output: must be a path: text that is not empty and has no NUL character, not 3",
    'run.output=""': 'run.output: must be a path: text that is not empty and has no NUL character, not ""',
    "run.tensorboard=1": "run.tensorboard: replaced by tracking.trackers, a list of names; leave it out",
    'tracking.trackers=["tensorbord"]': 'tracking.trackers[0]: must be "tensorboard", "wandb" or "mlflow", not '
    '"tensorbord"',
    "tracking.trackers=wandb": 'tracking.trackers: must be a list, not "wandb"',
    'tracking.trackers=["wandb", "mlflow", "wandb"]': "tracking.trackers: wandb: given twice",
    'tracking.name=""': 'tracking.name: must have at least 1 character, not ""',
    "tracking.tag=x": "tracking.tag: unknown key; did you mean tags?",
    "run.precision=fp16": 'run.precision: must be "auto", "bf16" or "float32", not "fp16"',
    "run.device=1": 'run.device: must be "auto", "cpu" or "cuda", not 1',
    "optimizer.lr=nan": "optimizer.lr: must be a finite number, not nan",
    "optimizer.lr=false": "optimizer.lr: must be a valid number, not false",
    "optimizer.betas=0.9": "optimizer.betas: must be a list, not 0.9",
    "optimizer.betas=[0.9]": "optimizer.betas[1]: missing: Decay of the first and second moments per step",
    'optimizer.betas=[0.9, "x"]': 'optimizer.betas[1]: must be a valid number, not "x"',
    "optimizer.betas=[0.9, 1]": "optimizer.betas[1]: must be less than 1, not 1",
    "optimizer.warmup_steps=101": "optimizer.warmup_steps: 101 is more than run.steps, 100",
    "optimizer.schedule=cosine": 'optimizer.schedule: must be "polynomial" or "wsd", not "cosine"',
    "optimizer.schedule=wsd": 'optimizer.cooldown_steps: missing: schedule = "wsd" needs the number of steps of its '
    "cooldown",
    "optimizer.cooldown_steps=10": 'optimizer.cooldown_steps: needs schedule = "wsd", not "polynomial"',
    "optimizer.schedule_start=10": 'optimizer.schedule_start: needs schedule = "wsd", not "polynomial"',
    "loader.workers=-1": "loader.workers: must be greater than or equal to 0, not -1",
    "loader.prefetch=0": "loader.prefetch: must be greater than or equal to 1, not 0",
    "evaluation.every=2": "evaluation.data: at least one held-out data set is needed, because every is 2",
    "evaluation.every=-1": "evaluation.every: must be greater than or equal to 0, not -1",
    "evaluation.evry=2": "evaluation.evry: unknown key; did you mean every?",
    "evaluation.data=/x": 'evaluation.data: must be a list, not "/x"',
    'evaluation.data=["/x/a", "/x/b/../a"]': "evaluation.data: /x/b/../a: given twice",
    "evaluation.images=0": "evaluation.images: must be greater than or equal to 1, not 0",
    "evaluation.min_text_height=-1": "evaluation.min_text_height: must be greater than or equal to 0, not -1",
    "evaluation.crops=-1": "evaluation.crops: must be greater than or equal to 0, not -1",
    "evaluation.crop_text_height=[12, 48]": "evaluation.crop_text_height: needs crops, the number of crops of each "
    "image",
    "evaluation.crop_context=[0, 0]": "evaluation.crop_context: needs crop_text_height",
    "evaluation.crop_text_height=12": "evaluation.crop_text_height: must be a list, not 12",
    "evaluation.crop_text_height=[0, 48]": "evaluation.crop_text_height[0]: must be greater than 0, not 0",
    "evaluation.replicates=1": "evaluation.replicates: must be greater than or equal to 2, not 1",
    "evaluation.replicates=10001": "evaluation.replicates: must be less than or equal to 10000, not 10001",
    'evaluation.data=["/x"]': "evaluation.every: missing: data are given, but not how often to evaluate; a number of "
    "steps, or 0 for never",
    "heads.ocr=[]": "heads.ocr: must be a section [heads.ocr], not []",
    "heads.OCR.global_batch=1": "heads.OCR.data: missing: Data sets: folders made by build-labels or "
    "pack-labels, or their URLs in an object store; for video: lists of videos",
    "heads.ocr.kind=audio": 'heads.ocr.kind: must be one of "image", "ocr", "video", not "audio"',
    "heads.ocr.data=/x": 'heads.ocr.data: must be a list, not "/x"',
    "heads.ocr.data=[]": "heads.ocr.data: must have at least 1 item, not []",
    "heads.ocr.data=[1]": "heads.ocr.data[0]: must be a path: text that is not empty and has no NUL character, not 1",
    'heads.ocr.data=["/no/such"]': "heads.ocr.data: /no/such: not a labelled data set (no manifest.json); "
    "create one with `ovocr build-labels`",
    "heads.ocr.global_batch=0": "heads.ocr.global_batch: must be greater than or equal to 1, not 0",
    "heads.ocr.labels_per_sample=101": "heads.ocr.labels_per_sample: 101 is more than labels_stored, 100",
    "heads.ocr.labels_per_sample=0": 'heads.ocr.labels_per_sample: must be a whole number of at least 1, or "all", '
    "not 0",
    "heads.ocr.labels_per_sample=2.0": 'heads.ocr.labels_per_sample: must be a whole number of at least 1, or "all", '
    "not 2.0",
    "heads.ocr.labels_per_sample=true": 'heads.ocr.labels_per_sample: must be a whole number of at least 1, or "all", '
    "not true",
    "heads.ocr.labels_per_sample=some": 'heads.ocr.labels_per_sample: must be a whole number of at least 1, or "all", '
    'not "some"',
    "heads.ocr.labels_per_sample=all": 'heads.ocr.labels_per_sample: "all" needs objective = "soft" or "two_sided", '
    'not "slots"',
    "heads.ocr.objective=hard": 'heads.ocr.objective: must be "slots", "soft" or "two_sided", not "hard"',
    "heads.ocr.negative_weight=idf": 'heads.ocr.negative_weight: must be "none" or "importance", not "idf"',
    "heads.ocr.tag_weights=uniform": 'heads.ocr.tag_weights: needs objective = "soft", not "slots"',
    "heads.ocr.tag_frequencies=f.tsv": 'heads.ocr.tag_frequencies: needs tag_weights = "idf", not "uniform"',
    "heads.ocr.label_select=-1": "heads.ocr.label_select: must be greater than or equal to 0, not -1",
    "heads.ocr.sample_rate=1.5": "heads.ocr.sample_rate: must be less than or equal to 1, not 1.5",
    "heads.ocr.sample_rate=0": "heads.ocr.sample_rate: must be greater than 0, not 0",
    "heads.ocr.num_classes=16777217": "heads.ocr.num_classes: must be less than or equal to 16777216, not 16777217",
    "heads.ocr.image_size=450": "heads.ocr.image_size: 450 is not divisible by backbone.patch_size, 14",
    "heads.ocr.frames=8": 'heads.ocr.frames: only heads of kind "video" have it; this head is of kind "ocr"',
    "heads.ocr.sampled_frames=64": 'heads.ocr.sampled_frames: only heads of kind "video" have it; this head '
    'is of kind "ocr"',
    "heads.ocr.mixing_weights=[1, 2]": "heads.ocr.mixing_weights: 2 weights for 1 data set",
    "heads.ocr.mixing_weights=[0]": "heads.ocr.mixing_weights[0]: must be greater than 0, not 0",
    "heads.ocr.crop_scale=[0.5, 0.2]": "heads.ocr.crop_scale: [0.5, 0.2]: the smaller value comes first",
    "heads.ocr.crop_scale=[0, 1]": "heads.ocr.crop_scale[0]: must be greater than 0, not 0",
    "heads.ocr.order=sequential": 'heads.ocr.order: must be "random" or "blocks", not "sequential"',
    "heads.ocr.block_records=64": 'heads.ocr.block_records: needs order = "blocks", not "random"',
    "heads.ocr.window_blocks=64": 'heads.ocr.window_blocks: needs order = "blocks", not "random"',
    "heads.ocr.crop_share=0.5": "heads.ocr.crop_share: needs crop_scale or crop_text_height",
    "heads.ocr.crop_ratio=[1, 1]": "heads.ocr.crop_ratio: needs crop_scale",
    "heads.ocr.crop_text_height=[20, 10]": "heads.ocr.crop_text_height: [20, 10]: the smaller value comes first",
    "heads.ocr.crop_text_height=10": "heads.ocr.crop_text_height: must be a list, not 10",
    "heads.ocr.crop_text_height_start=[10, 20]": "heads.ocr.crop_text_height_start: needs crop_text_height",
    "heads.ocr.crop_text_height_steps=10": "heads.ocr.crop_text_height_steps: needs crop_text_height_start or "
    "crop_context_start",
    "heads.ocr.crop_context=[0, 1]": "heads.ocr.crop_context: needs crop_text_height",
    "heads.ocr.crop_context=[1, 0]": "heads.ocr.crop_context: needs crop_text_height",
    "heads.ocr.crop_context=[0, 2]": "heads.ocr.crop_context[1]: must be less than or equal to 1, not 2",
    "heads.ocr.crop_context_start=[0, 0]": "heads.ocr.crop_context_start: needs crop_text_height",
    "heads.ocr.max_upscale=1": "heads.ocr.max_upscale: needs crop_text_height",
    "heads.ocr.min_text_height=0": "heads.ocr.min_text_height: must be greater than 0, not 0",
    "heads.ocr.mixing_weights=1": "heads.ocr.mixing_weights: must be a list, not 1",
    "heads.ocr.kind=video": "heads.ocr.num_classes: missing: Number of class centers; a list of videos does "
    "not state it",
    "heads.ocr.optimizer=adam": 'heads.ocr.optimizer: must be "adamw" or "sgd", not "adam"',
    "heads.ocr.momentum=1": "heads.ocr.momentum: must be less than 1, not 1",
    "heads.ocr.momentum=0.5": 'heads.ocr.momentum: needs optimizer = "sgd", not "adamw"',
    "heads.ocr.global_batch=99999999999": "heads.ocr.global_batch: must be less than or equal to 16777216, "
    "not 99999999999",
    'run.output="a\\u0000b"': "run.output: must be a path: text that is not empty and has no NUL character, "
    'not "a\\u0000b"',
    "heads.ocr.init_from=/no/such": "heads.ocr.init_from: /no/such: not a training run (no config.toml)",
    "heads.ocr.labels_stored=4": "heads.ocr.labels_per_sample: 8 is more than labels_stored, 4",
    "heads.ocr.loss_weight=0": "heads.ocr.loss_weight: must be greater than 0, not 0",
    "run.passes_per_step=3": "heads.ocr.global_batch: 16 is not divisible by run.passes_per_step, 3",
    "run.passes_per_step=0": "run.passes_per_step: must be greater than or equal to 1, not 0",
    "run.backbone_parallel=fsdp": 'run.backbone_parallel: must be "ddp" or "fsdp2", not "fsdp"',
    "run.compile=1": "run.compile: must be a valid boolean, not 1",
    "run.collective_timeout_s=0": "run.collective_timeout_s: must be greater than 0, not 0",
    "heads.ocr.margin.scale=0": "heads.ocr.margin.scale: must be greater than 0, not 0",
    "heads.ocr.margin.m2=4": "heads.ocr.margin.m2: must be less than or equal to 3.14, not 4",
    "heads.ocr.margin.filter_threshold=1": "heads.ocr.margin.filter_threshold: must be less than 1, not 1",
    "heads.ocr.margin.gradient=soft": 'heads.ocr.margin.gradient: must be "exact" or "straight_through", not "soft"',
}
REPORTED_AT_A_KEY_OF_THE_FILE = {
    "heads.ocr.kind=video",
    "heads.ocr.labels_stored=4",
    "run.passes_per_step=3",
    "optimizer.schedule=wsd",
}


@pytest.mark.parametrize("override", OVERRIDE_MISTAKES)
def test_mistake_in_an_override_is_one_line(config_file: Path, override: str) -> None:
    problem = OVERRIDE_MISTAKES[override]
    in_file = override in REPORTED_AT_A_KEY_OF_THE_FILE
    assert mistake(config_file, override) == f"{config_file if in_file else '--set'}: {problem}"


# Several --set, with the error.
TEXT_HEIGHT_MISTAKES = [
    (
        ("heads.ocr.crop_text_height=[10, 20]", "heads.ocr.crop_scale=[0.5, 1]"),
        "heads.ocr.crop_text_height: cannot be combined with crop_scale; leave one of them out",
    ),
    (
        ("heads.ocr.crop_text_height=[10, 20]", "heads.ocr.min_text_height=12"),
        "heads.ocr.crop_text_height: [10, 20] begins below min_text_height, 12",
    ),
    (
        ("heads.ocr.crop_text_height=[10, 20]", "heads.ocr.crop_text_height_start=[20, 40]"),
        "heads.ocr.crop_text_height_start: needs crop_text_height_steps, the number of steps until crop_text_height",
    ),
    (
        ("heads.ocr.crop_text_height=[10, 20]", "heads.ocr.crop_context_start=[0, 0]"),
        "heads.ocr.crop_context_start: needs crop_text_height_steps, the number of steps until crop_context",
    ),
    (
        ("heads.ocr.crop_text_height=[10, 20]", "heads.ocr.crop_context=[1, 0.5]"),
        "heads.ocr.crop_context: [1, 0.5]: the smaller value comes first",
    ),
    (
        ("heads.ocr.kind=image", "heads.ocr.min_text_height=12"),
        'heads.ocr.min_text_height: only heads of kind "ocr" have it; this head is of kind "image"',
    ),
]


@pytest.mark.parametrize(("overrides", "problem"), TEXT_HEIGHT_MISTAKES)
def test_contradicting_text_heights_are_one_line(config_file: Path, overrides: tuple[str, ...], problem: str) -> None:
    assert mistake(config_file, *overrides) == f"--set: {problem}"


WSD = ("optimizer.schedule=wsd", "optimizer.cooldown_steps=20")
# --set besides WSD, with the error.
WSD_MISTAKES = {
    "optimizer.decay_power=1": 'optimizer.decay_power: needs schedule = "polynomial", not "wsd"',
    "optimizer.cooldown_steps=0": "optimizer.cooldown_steps: must be greater than or equal to 1, not 0",
    "optimizer.cooldown_steps=91": "optimizer.cooldown_steps: 91 plus warmup_steps, 10, is more than run.steps, 100",
    "optimizer.warmup_steps=101": "optimizer.warmup_steps: 101 is more than run.steps, 100",
    "optimizer.schedule_start=0": "optimizer.schedule_start: must be greater than or equal to 1, not 0",
    "optimizer.schedule_start=100": "optimizer.schedule_start: 100 is not less than run.steps, 100",
    "optimizer.schedule_start=71": "optimizer.cooldown_steps: 20 plus warmup_steps, 10, is more than run.steps, 100, "
    "minus schedule_start, 71",
}


@pytest.mark.parametrize("override", WSD_MISTAKES)
def test_contradicting_settings_of_the_schedule_are_one_line(config_file: Path, override: str) -> None:
    assert mistake(config_file, *WSD, override) == f"--set: {WSD_MISTAKES[override]}"


def test_dump_writes_the_settings_of_the_schedule(config_file: Path, tmp_path: Path) -> None:
    config = load_config(config_file, [*WSD, "optimizer.schedule_start=70"])
    text = dump_config(config)
    (tmp_path / "resolved.toml").write_text(text)
    assert load_config(tmp_path / "resolved.toml") == config
    assert "cooldown_steps = 20  # " in text
    assert "decay_power" not in text
    assert config.cooldown_start == 80
    config = load_config(config_file)
    assert "cooldown_steps" not in dump_config(config)
    assert config.cooldown_start is None


# Several --set, with the error.
OBJECTIVE_MISTAKES = [
    (
        ("heads.ocr.objective=two_sided", "heads.ocr.tag_weights=idf"),
        'heads.ocr.tag_weights: needs objective = "soft", not "two_sided"',
    ),
    (
        ("heads.ocr.objective=soft", "heads.ocr.tag_weights=idf"),
        'heads.ocr.tag_weights: "idf" needs tag_frequencies, the file frequencies.tsv of `ovocr relabel --policy idf`',
    ),
    (
        ("heads.ocr.objective=soft", "heads.ocr.tag_weights=idf", "heads.ocr.tag_frequencies=/no/f.tsv"),
        "heads.ocr.tag_frequencies: /no/f.tsv: word frequencies cannot be read: No such file or directory",
    ),
    (
        ("heads.ocr.objective=soft", "heads.ocr.labels_per_sample=101"),
        "heads.ocr.labels_per_sample: 101 is more than labels_stored, 100",
    ),
    (
        ("heads.ocr.kind=image", "heads.ocr.objective=soft", "heads.ocr.tag_weights=idf"),
        'heads.ocr.tag_weights: only heads of kind "ocr" have it; this head is of kind "image"',
    ),
]


@pytest.mark.parametrize(("overrides", "problem"), OBJECTIVE_MISTAKES)
def test_contradicting_objectives_are_one_line(config_file: Path, overrides: tuple[str, ...], problem: str) -> None:
    assert mistake(config_file, *overrides) == f"--set: {problem}"


def test_frequencies_are_checked_at_the_start_only(config_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "f.tsv"
    file.write_text("image\tword\n")
    idf = ["heads.ocr.objective=soft", "heads.ocr.tag_weights=idf", f"heads.ocr.tag_frequencies={file}"]
    assert mistake(config_file, *idf) == (
        f"--set: heads.ocr.tag_frequencies: {file}:1: not word frequencies; give a file that `ovocr relabel --policy "
        "idf` wrote"
    )
    assert load_config(config_file, idf, check_paths=False).heads["ocr"].tag_frequencies == file
    file.write_text("word\timages\n\t9\nfox\t2\n")
    assert load_config(config_file, idf).heads["ocr"].tag_weights == "idf"


@pytest.mark.parametrize("labels", ["all", '"all"', "4"])
@pytest.mark.parametrize("objective", ["soft", "two_sided"])
def test_objective_is_dumped_and_loaded_back(config_file: Path, tmp_path: Path, objective: str, labels: str) -> None:
    (tmp_path / "f.tsv").write_text("word\timages\n\t9\n")
    settings = [f"heads.ocr.objective={objective}", f"heads.ocr.labels_per_sample={labels}"]
    settings += ["heads.ocr.negative_weight=importance", "heads.ocr.sample_rate=1.0", "heads.ocr.sampling=independent"]
    if objective == "soft":
        settings += ["heads.ocr.tag_weights=idf", f"heads.ocr.tag_frequencies={tmp_path / 'f.tsv'}"]
    config = load_config(config_file, settings)
    head = config.heads["ocr"]
    assert isinstance(head, OcrHeadConfig)
    assert head.labels_per_sample == (4 if labels == "4" else "all")
    assert (head.objective, head.negative_weight) == (objective, "importance")
    dumped = tmp_path / "resolved.toml"
    dumped.write_text(dump_config(config), encoding="utf-8")
    assert load_config(dumped) == config
    assert ("tag_weights = " in dumped.read_text()) == (objective == "soft")


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("heads.ocr.crop_text_height=[10, 20]", 'crop_text_height: loader.kind = "dali" cannot crop images'),
        ("heads.ocr.min_text_height=10", 'min_text_height: loader.kind = "dali" does not know the places of tags'),
        ("heads.ocr.order=blocks", 'order: loader.kind = "dali" draws its own order'),
    ],
)
def test_dali_has_no_text_heights_and_no_blocks(config_file: Path, override: str, problem: str) -> None:
    assert mistake(config_file, override, "loader.kind=dali") == f"--set: heads.ocr.{problem}"


def test_held_out_data_must_exist(config_file: Path, tmp_path: Path) -> None:
    every = "evaluation.every=10"
    assert mistake(config_file, every, 'evaluation.data=["/no/such"]') == (
        "--set: evaluation.data: /no/such: no such file or folder; held-out data are labelled data sets and lists of "
        "videos"
    )
    assert mistake(config_file, every, f'evaluation.data=["{tmp_path}"]') == (
        f"--set: evaluation.data: {tmp_path}: not a labelled data set (no manifest.json); create one with "
        "`ovocr build-labels`"
    )
    held_out = tmp_path / "data"
    assert mistake(config_file, every, f'evaluation.data=["{held_out}"]', "evaluation.groups=none.csv") == (
        "--set: evaluation.groups: none.csv: no such file"
    )
    config = load_config(config_file, [every, f'evaluation.data=["{held_out}", "{config_file}"]'])
    assert config.evaluation.data == (held_out, config_file)
    crops = (every, f'evaluation.data=["{held_out}"]', "evaluation.crops=2")
    assert mistake(config_file, *crops, "evaluation.crop_text_height=[48, 12]") == (
        "--set: evaluation.crop_text_height: [48, 12]: the smaller value comes first"
    )
    assert load_config(config_file, [*crops, "evaluation.crop_text_height=[12, 48]"]).evaluation == EvaluationConfig(
        data=(held_out,), every=10, crops=2, crop_text_height=(12.0, 48.0)
    )
    switched_off = load_config(config_file, ["evaluation.every=0", 'evaluation.data=["/no/such"]'])
    (tmp_path / "again.toml").write_text(dump_config(switched_off))
    assert load_config(tmp_path / "again.toml").evaluation == switched_off.evaluation


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/receipts", "b/forms.txt"], ["receipts", "forms.txt"]),
        (["a/labels", "b/labels", "b/other"], ["a/labels", "b/labels", "other"]),
        (["/a/x/labels", "/b/x/labels", "/labels"], ["a/x/labels", "b/x/labels", "labels"]),
    ],
)
def test_held_out_data_have_unique_names(paths: list[str], names: list[str]) -> None:
    assert EvaluationConfig(data=[Path(path) for path in paths], every=1).names() == names


# Several --set, in addition to the ones that make it a video head, with the error.
VIDEO_MISTAKES = [
    ((), "heads.ocr.data: DATA: no such file; a list of videos is a text file with a path and class ids per line"),
    (("heads.ocr.sampled_frames=60",), "heads.ocr.sampled_frames: 60 is not divisible by frames, 8"),
    (("heads.ocr.frames=5",), "heads.ocr.sampled_frames: 64 is not divisible by frames, 5"),
    (
        ("heads.ocr.sampled_frames=128",),
        "heads.ocr.sampled_frames: 128 is more than backbone.rope_temporal_size, 64",
    ),
    (("heads.ocr.labels_per_sample=11",), "heads.ocr.labels_per_sample: 11 is more than labels_stored, 10"),
    (
        ("heads.ocr.crop_share=0.5",),
        'heads.ocr.crop_share: only heads of kind "image" or "ocr" have it; this head is of kind "video"',
    ),
    (
        ("heads.ocr.crop_min_visible=0.5",),
        'heads.ocr.crop_min_visible: only heads of kind "ocr" have it; this head is of kind "video"',
    ),
]


@pytest.mark.parametrize(("overrides", "problem"), VIDEO_MISTAKES)
def test_mistake_in_a_video_head_is_one_line(config_file: Path, overrides: tuple[str, ...], problem: str) -> None:
    video = ("heads.ocr.kind=video", "heads.ocr.num_classes=50")
    expected = problem.replace("DATA", str(config_file.parent / "data"))
    assert mistake(config_file, *video, *overrides).split(": ", 1)[1] == expected


def test_defaults_of_each_kind(config_file: Path) -> None:
    videos = config_file.parent / "videos.txt"
    videos.write_text("a.mp4 1 2 3\n")
    video = ("heads.ocr.kind=video", "heads.ocr.num_classes=50", f'heads.ocr.data=["{videos}"]')
    head = load_config(config_file, video).heads["ocr"]
    assert isinstance(head, VideoHeadConfig)
    assert (head.labels_stored, head.frames, head.sampled_frames) == (10, 8, 64)
    head = load_config(config_file, ["heads.ocr.kind=image"]).heads["ocr"]
    assert isinstance(head, ImageHeadConfig)
    assert (head.labels_stored, head.crop_ratio, head.crop_share) == (10, (3 / 4, 4 / 3), 1.0)
    head = load_config(config_file).heads["ocr"]
    assert isinstance(head, OcrHeadConfig)
    assert (head.labels_stored, head.crop_min_visible, head.momentum) == (100, 0.8, 0.9)


def test_setting_of_another_kind_names_the_kinds_that_have_it(config_file: Path) -> None:
    assert mistake(config_file, "heads.ocr.kind=image", "heads.ocr.crop_min_visible=0.5") == (
        '--set: heads.ocr.crop_min_visible: only heads of kind "ocr" have it; this head is of kind "image"'
    )


# Text of the file, its replacement, and the error.
FILE_MISTAKES = [
    ("steps = 100\n", "", "run.steps: missing: Number of optimizer steps"),
    ("steps = 100", "steps = 5", "optimizer.warmup_steps: 10 is more than run.steps, 5"),
    ("[optimizer]\nlr = 1e-3\nwarmup_steps = 10\n", "", "optimizer.lr: missing: Peak learning rate"),
    ('preset = "base"', "", "backbone.hidden_size: missing: Channels of a token; a preset sets it"),
    (
        "heads.ocr",
        "heads.OCR",
        "heads.OCR: a name consists of lower-case letters, digits and _, and starts with a letter",
    ),
    ("[heads.ocr]", "[head.ocr]", "head: unknown key; did you mean heads?"),
    (
        "[run]",
        "run = 3\n[other]",
        "other: unknown key; known are run, backbone, optimizer, loader, evaluation, tracking, heads",
    ),
    ("[run]", "run = 3\n[loader]", "run: must be a section [run], not 3"),
    ("[run]", "[run", "not valid TOML: "),
    ("lr = 1e-3", "lr = 1e-3\nlr = 2e-3", "not valid TOML: Cannot overwrite a value (at line 10, column 10)"),
    ("lr = 1e-3", "lr = 1979-05-27", "optimizer.lr: must be a valid number, not 1979-05-27"),
]


@pytest.mark.parametrize(("old", "new", "problem"), FILE_MISTAKES)
def test_mistake_in_the_file_is_one_line(config_file: Path, old: str, new: str, problem: str) -> None:
    text = config_file.read_text()
    assert old in text
    config_file.write_text(text.replace(old, new))
    message = mistake(config_file)
    assert message.startswith(f"{config_file}: {problem}")
    if not problem.endswith(" "):
        assert message == f"{config_file}: {problem}"
    assert "\n" not in message


def test_configuration_without_heads_raises(config_file: Path) -> None:
    config_file.write_text(config_file.read_text().split("[heads.ocr]")[0])
    assert mistake(config_file) == f"{config_file}: heads: at least one section [heads.NAME] is needed"


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
def test_unreadable_file_is_one_line(config_file: Path, break_file: Callable[[Path], object], problem: str) -> None:
    break_file(config_file)
    assert mistake(config_file) == f"{config_file}: {problem}"


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("run.steps", "must be section.key=value, such as run.steps=1000"),
        ("run=3", "must be section.key=value, such as run.steps=1000"),
        ("run..steps=3", "must be section.key=value, such as run.steps=1000"),
        ("run.steps.most=3", "run.steps is not a section"),
    ],
)
def test_override_without_a_setting_is_one_line(config_file: Path, override: str, problem: str) -> None:
    assert mistake(config_file, override) == f"--set {override}: {problem}"


def test_line_break_in_an_override_sets_nothing_else(config_file: Path) -> None:
    assert mistake(config_file, "run.steps=3\nseed=1") == (
        '--set: run.steps: must be a valid integer, not "3\\nseed=1"'
    )
