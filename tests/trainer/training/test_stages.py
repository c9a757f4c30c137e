"""Both stages of the method at small size: the image head, then all three heads on its backbone and centers."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ovocr.base.errors import OvocrError, UsageError
from ovocr.cli import main
from ovocr.recordio import RecordReader
from ovocr.trainer.config.file import load_config
from ovocr.trainer.data.images import normalise
from ovocr.trainer.evaluation.read import read_words
from ovocr.trainer.export.encoder_folder import export_encoder
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.training.dry_run import dry_run
from ovocr.trainer.training.loop import train
from ovocr.trainer.training.model import TrainedRun, build_model

CPU = torch.device("cpu")
CONFIGS = Path(__file__).resolve().parents[3] / "configs"

COMMON = """
[run]
output = "{root}/{stage}"
steps = {steps}
passes_per_step = 2
checkpoint_every = 3
device = "cpu"

[tracking]
trackers = []

[backbone]
hidden_size = 64
intermediate_size = 96
num_hidden_layers = 2
num_attention_heads = 2
image_size = 32
patch_size = 16
{start}

[optimizer]
lr = 1e-3
warmup_steps = 2

[heads.image]
kind = "image"
data = ["{root}/clusters"]
global_batch = 6
labels_per_sample = 4
sample_rate = 0.3
lr_scale = 20.0
{start}
"""
OTHER_HEADS = """
[heads.ocr]
kind = "ocr"
data = ["{root}/pages", "{root}/signs"]
mixing_weights = [2.0, 1.0]
global_batch = 4
labels_stored = 6
label_select = 2
labels_per_sample = 4
sampling = "shared"
sample_rate = 0.2
lr_scale = 20.0
loss_weight = 0.5

[heads.video]
kind = "video"
data = ["{root}/videos.txt"]
num_classes = 40
image_size = 16
global_batch = 6
labels_per_sample = 4
sample_rate = 1.0
optimizer = "sgd"
lr_scale = 5.0

[heads.video.margin]
m2 = 0.0
m3 = 0.3
filter_threshold = 0.75
"""


@pytest.fixture
def stages(tmp_path: Path, make_data_set: Callable[..., Path], make_video: Callable[..., Path]) -> tuple[Path, Path]:
    """Writes configurations of stage 1 and stage 2, with images, words and real mp4 files."""
    make_data_set("clusters", [9, 4], patterned=True, words=None, num_classes=61)
    make_data_set("pages", [11], patterned=True)
    make_data_set("signs", [7], patterned=True, first_colour=5)
    lines = ["# five videos"]
    for number in range(5):
        make_video(f"clip {number}.mp4", frames=20 + number, size=(48, 32), fps=10)
        lines.append(f"clip {number}.mp4\t" + " ".join(str(7 * number + offset) for offset in range(10)))
    (tmp_path / "videos.txt").write_text("\n".join(lines))
    start = f'init_from = "{tmp_path}/stage1"'
    first, second = tmp_path / "stage1.toml", tmp_path / "stage2.toml"
    first.write_text(COMMON.format(root=tmp_path, stage="stage1", steps=3, start=""))
    second.write_text((COMMON + OTHER_HEADS).format(root=tmp_path, stage="stage2", steps=12, start=start))
    return first, second


def test_stage_2_starts_from_stage_1(
    stages: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(load_config(stages[0]))
    assert not (tmp_path / "stage1" / "vocab").exists()
    # Almost no learning, so the final weights show the initial ones.
    train(load_config(stages[1], ["run.steps=2", "optimizer.lr=1e-30", "optimizer.weight_decay=0"]))
    told = capsys.readouterr().err
    checkpoint = tmp_path / "stage1" / "checkpoints" / "00000003"
    assert f"backbone: from {checkpoint}\n" in told
    assert f"head image: class centers from {checkpoint}\n" in told
    one, two = (TrainedRun.load(tmp_path / name, CPU) for name in ("stage1", "stage2"))
    torch.testing.assert_close(two.model.backbone.state_dict(), one.model.backbone.state_dict())
    torch.testing.assert_close(two.model.heads["image"].weight, one.model.heads["image"].weight)
    assert {name: head.num_classes for name, head in two.model.heads.items()} == {"image": 61, "ocr": 50, "video": 40}
    assert list(two.vocabularies) == ["ocr"]

    image = tmp_path / "image.jpg"
    image.write_bytes(RecordReader(tmp_path / "pages" / "rec" / "00000")[0].image)
    (words,) = read_words(tmp_path / "stage2", [image], top_k=3)
    assert all(found.word.startswith("word") for found in words.words)
    (ids,) = read_words(tmp_path / "stage2", [image], head="image", top_k=3)
    assert all(found.word.startswith("class ") for found in ids.words)


def test_three_heads_on_1_2_and_3_ranks(stages: tuple[Path, Path], tmp_path: Path, runs: Any) -> None:
    """Samples, losses and gradient norms are equal with the backbone replicated on each rank or split over them."""
    train(load_config(stages[0]))
    train(load_config(stages[1]))
    lines = runs.metrics(tmp_path / "stage2")
    assert [sorted(line["heads"]) for line in lines] == [["image", "ocr", "video"]] * 12
    weighted = [
        line["heads"]["image"]["loss"] + 0.5 * line["heads"]["ocr"]["loss"] + line["heads"]["video"]["loss"]
        for line in lines
    ]
    assert [line["loss"] for line in lines] == pytest.approx(weighted)
    assert min(line["memory_gb"] for line in lines) > 0.1
    for name in ("image", "ocr", "video"):
        assert lines[-1]["heads"][name]["loss"] < lines[0]["heads"][name]["loss"], name
    for ranks, settings in (
        (2, []),
        (3, []),
        (2, ["run.backbone_parallel=fsdp2", "run.activation_checkpointing=true"]),
    ):
        output = tmp_path / f"on{ranks}{len(settings)}"
        runs.finish(stages[1], f"run.output={output}", "loader.workers=1", *settings, ranks=ranks)
        runs.assert_same_metrics(output, tmp_path / "stage2", 2e-3)


def test_every_kind_of_head_is_evaluated(stages: tuple[Path, Path], tmp_path: Path, runs: Any) -> None:
    """Each on the data that it matches, on one rank, and on two that split the backbone."""
    train(load_config(stages[0]))
    data = [str(tmp_path / name) for name in ("signs", "clusters", "videos.txt", "pages")]
    settings = [f"evaluation.data={json.dumps(data)}", "evaluation.every=2", "run.steps=3", "evaluation.replicates=20"]
    train(load_config(stages[1], settings))
    runs.finish(stages[1], *settings, f"run.output={tmp_path / 'two'}", "run.backbone_parallel=fsdp2", ranks=2)
    runs.assert_same_metrics(tmp_path / "two", tmp_path / "stage2", 2e-3)
    for run in (tmp_path / "stage2", tmp_path / "two"):
        lines = [line for line in runs.metrics(run) if "evaluation" in line]
        assert [line["step"] for line in lines] == [1, 2]
        for line in lines:
            found = {(head, name): own for head, sets in line["evaluation"].items() for name, own in sets.items()}
            assert {key: own["images"] for key, own in found.items()} == {
                ("ocr", "signs"): 7,
                ("ocr", "pages"): 11,
                ("image", "clusters"): 13,
                ("video", "videos.txt"): 5,
            }
            assert found["ocr", "pages"]["word_auc"]["classes"] > 0
            assert found["image", "clusters"]["word_auc"]["classes"] > 0
            assert list(found["ocr", "pages"]["by_script"]) == ["Latin"]
            assert found["image", "clusters"]["by_script"] == {}


def test_crops_of_images_that_cannot_be_cropped_are_refused(stages: tuple[Path, Path], tmp_path: Path) -> None:
    """Only of heads that are evaluated, and before the run starts."""
    train(load_config(stages[0]))
    crops = ["evaluation.every=3", "evaluation.crops=2", "evaluation.crop_text_height=[5, 9]"]
    for name, message in (
        ("videos.txt", "head video is of kind video, and videos are not cropped; leave evaluation.crops out"),
        ("clusters", "head image is trained on whole images, without crop_scale; leave evaluation.crops out"),
    ):
        with pytest.raises(UsageError, match=rf"^evaluation.crops: {message}$"):
            train(load_config(stages[1], [*crops, f'evaluation.data=["{tmp_path / name}"]']))
        assert not (tmp_path / "stage2" / "config.toml").exists()
    data = f'evaluation.data=["{tmp_path}/signs", "{tmp_path}/clusters"]'
    train(load_config(stages[1], [*crops, data, "run.steps=3", "heads.image.crop_scale=[0.2, 0.6]"]))
    line = json.loads((tmp_path / "stage2" / "metrics.jsonl").read_text().splitlines()[-1])
    images = {(head, name): own["images"] for head, sets in line["evaluation"].items() for name, own in sets.items()}
    assert images == {("ocr", "signs"): 14, ("image", "clusters"): 26}


def test_sharded_checkpoint_resumes_unsharded(stages: tuple[Path, Path], tmp_path: Path, runs: Any) -> None:
    """A run started on three ranks with FSDP2 and finished on two with DDP matches a single rank."""
    train(load_config(stages[0]))
    train(load_config(stages[1]))
    mixed = f"run.output={tmp_path / 'mixed'}"
    runs.finish(stages[1], mixed, "run.backbone_parallel=fsdp2", ranks=3)
    checkpoints = tmp_path / "mixed" / "checkpoints"
    for newer in sorted(checkpoints.iterdir())[1:]:
        newer.rename(tmp_path / newer.name)
    runs.finish(stages[1], mixed, ranks=2)
    runs.assert_same_metrics(tmp_path / "mixed", tmp_path / "stage2", 2e-3)


def test_exported_weights_start_a_run_on_several_ranks(stages: tuple[Path, Path], tmp_path: Path, runs: Any) -> None:
    """Starts a run on one rank, and on two ranks that each store a part of every parameter."""
    train(load_config(stages[0]))
    export_encoder(tmp_path / "stage1", tmp_path / "exported")
    kept = ("optimizer.lr=1e-30", "optimizer.weight_decay=0", f"backbone.init_from={tmp_path / 'exported'}")
    for ranks, parallel in ((1, "ddp"), (2, "fsdp2")):
        output = tmp_path / f"on{ranks}"
        runs.finish(stages[0], *kept, f"run.output={output}", f"run.backbone_parallel={parallel}", ranks=ranks)
        begun = TrainedRun.load(output, CPU).model.backbone
        torch.testing.assert_close(
            begun.state_dict(), TrainedRun.load(tmp_path / "stage1", CPU).model.backbone.state_dict()
        )


def test_frozen_backbone_does_not_change(stages: tuple[Path, Path], tmp_path: Path, runs: Any) -> None:
    train(load_config(stages[0], ["run.freeze_backbone=true"]))
    frozen = TrainedRun.load(tmp_path / "stage1", CPU).model
    num_classes = {name: head.num_classes for name, head in frozen.heads.items()}
    drawn = build_model(load_config(stages[0]), num_classes, Ranks(), CPU)
    torch.testing.assert_close(frozen.backbone.state_dict(), drawn.backbone.state_dict(), rtol=0, atol=0)
    lines = [json.loads(line) for line in (tmp_path / "stage1" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < lines[0]["loss"]
    for parallel in ("ddp", "fsdp2"):
        settings = ("run.freeze_backbone=true", f"run.backbone_parallel={parallel}")
        runs.finish(stages[0], f"run.output={tmp_path / parallel}", *settings, ranks=2)
        runs.assert_same_metrics(tmp_path / parallel, tmp_path / "stage1", 2e-3)
        spread = TrainedRun.load(tmp_path / parallel, CPU).model
        torch.testing.assert_close(spread.backbone.state_dict(), drawn.backbone.state_dict(), rtol=0, atol=0)


def test_normalised_embeddings_on_1_and_2_ranks(stages: tuple[Path, Path], tmp_path: Path, runs: Any) -> None:
    """Two passes per step, a resumed run, and running statistics at evaluation."""
    norm = ("heads.image.embedding_norm=batch", "run.passes_per_step=2", "run.steps=6")
    train(load_config(stages[0], norm))
    runs.finish(stages[0], *norm, f"run.output={tmp_path / 'two'}", "run.checkpoint_every=3", ranks=2)
    runs.assert_same_metrics(tmp_path / "two", tmp_path / "stage1", 2e-3)
    checkpoints = tmp_path / "two" / "checkpoints"
    (checkpoints / "00000006").rename(tmp_path / "newest")
    runs.finish(stages[0], *norm, f"run.output={tmp_path / 'two'}", "run.checkpoint_every=3")
    runs.assert_same_metrics(tmp_path / "two", tmp_path / "stage1", 2e-3)
    one, two = (TrainedRun.load(tmp_path / name, CPU) for name in ("stage1", "two"))
    norms = [run.model.heads["image"].embedding_norm for run in (one, two)]
    # Six steps of large gradients amplify differences in rounding. test_embedding_statistics.py compares statistics of
    # the same weights exactly.
    torch.testing.assert_close(norms[1].state_dict(), norms[0].state_dict(), rtol=0, atol=0.02)
    assert norms[0].running_mean.abs().max() > 0.03
    pixels = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    pooled = one.model.backbone(normalise(pixels))[1]
    expected = (pooled - norms[0].running_mean) / (norms[0].running_variance + 1e-5).sqrt() + 0.25
    torch.testing.assert_close(one.embed("image", pixels), expected)


def test_recomputed_activations_give_the_same_run(stages: tuple[Path, Path], tmp_path: Path, runs: Any) -> None:
    train(load_config(stages[0]))
    train(load_config(stages[0], [f"run.output={tmp_path / 'again'}", "run.activation_checkpointing=true"]))
    runs.assert_same_metrics(tmp_path / "again", tmp_path / "stage1", 1e-6)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU: g++")
def test_compiled_layers_give_the_same_run(stages: tuple[Path, Path], tmp_path: Path, runs: Any) -> None:
    train(load_config(stages[0]))
    train(load_config(stages[0], [f"run.output={tmp_path / 'compiled'}", "run.compile=true"]))
    runs.assert_same_metrics(tmp_path / "compiled", tmp_path / "stage1", 1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["backbone.rope_theta=100"], "stage1/config.toml: rope_theta is 10000.0, but this backbone's is 100.0"),
        (["backbone.num_hidden_layers=1"], "stage1/config.toml: num_hidden_layers is 2, but this backbone's is 1"),
        (["heads.image.num_classes=62"], "init_from: .*/stage1 has 61 classes, but this head has 62; see num"),
        (["heads.image.num_classes=60"], "heads.image.num_classes: 60, but its data have 61 classes"),
        (["heads.ocr.num_classes=51"], "heads.ocr.num_classes: 51, but its vocabulary has 50"),
        (
            ["heads.image.kind=ocr", "heads.image.labels_stored=10"],
            "its class ids have no vocabulary; use kind = .image.",
        ),
        (["heads.video.num_classes=37"], r"videos.txt:6: 37 is not a class; class ids are 0 to 36"),
        (["heads.video.labels_stored=11"], r"videos.txt:2: has 10 class ids, but ids 0 to 10 are needed"),
        (
            ["heads.ocr.labels_stored=9"],
            r"pages/rec/00000.rec id 0 \(.*\): 10 slots, but label_select and labels_stored select slots 2 to 10",
        ),
        (
            ["heads.ocr.init_from=ROOT/stage1"],
            "heads.ocr.init_from: ROOT/stage1 has no head of this name; it has image",
        ),
    ],
)
def test_mismatch_is_a_one_line_error(
    stages: tuple[Path, Path], tmp_path: Path, settings: list[str], message: str
) -> None:
    train(load_config(stages[0]))
    settings = [setting.replace("ROOT", str(tmp_path)) for setting in settings]
    with pytest.raises((OvocrError, UsageError), match=message.replace("ROOT", str(tmp_path))) as caught:
        train(load_config(stages[1], settings))
    assert "\n" not in str(caught.value)


def test_start_without_a_checkpoint_is_a_one_line_error(stages: tuple[Path, Path], tmp_path: Path) -> None:
    train(load_config(stages[0]))
    for state in (tmp_path / "stage1" / "checkpoints").glob("*/state.json"):
        state.unlink()
    with pytest.raises(OvocrError, match="stage1: no complete checkpoint yet; continue the run with `ovocr train`"):
        train(load_config(stages[1]))


def test_incomplete_checkpoints_are_reported(
    stages: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(load_config(stages[0], ["run.steps=6"]))
    checkpoints = tmp_path / "stage1" / "checkpoints"
    (checkpoints / "00000006" / "state.json").unlink()
    (checkpoints / "00000005.partial").mkdir()
    capsys.readouterr()
    assert train(load_config(stages[0], ["run.steps=6"])).first_step == 3
    told = capsys.readouterr().err
    for name in ("00000005.partial", "00000006"):
        assert f"{checkpoints / name}: incomplete checkpoint, ignored\n" in told
    assert sorted(path.name for path in checkpoints.iterdir()) == ["00000003", "00000006"]


SMALL = (
    *("backbone.hidden_size=64", "backbone.num_attention_heads=2", "backbone.num_hidden_layers=2"),
    *("backbone.intermediate_size=64", "run.compile=false", "run.device=cpu"),
    *("heads.image.image_size=28", "heads.image.global_batch=4", "heads.image.num_classes=500"),
)
SMALL_OTHERS = (
    *("heads.ocr.image_size=28", "heads.ocr.global_batch=4", "heads.ocr.num_classes=400"),
    *("heads.video.image_size=28", "heads.video.global_batch=4", "heads.video.num_classes=300"),
)


def test_dry_run_needs_no_data_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options = [part for setting in (*SMALL, *SMALL_OTHERS) for part in ("--set", setting)]
    main(["train", str(CONFIGS / "stage2.toml"), "--dry-run", *options], standalone_mode=False)
    output = capsys.readouterr().out
    assert (
        "head image: 28 x 28 pixels, 4 samples per step = 1 x 4 passes x 1 rank; 500 centers of 64 dimensions, 500 per"
        in output
    )
    assert "head video: 8 frames of 28 x 28 pixels, 4 samples per step" in output
    assert "step 2: loss " in output
    (flops,) = (line for line in output.splitlines() if line.startswith("model FLOPs of a step: "))
    assert re.search(r": [\d.]+ GFLOP; backbone [\d.]+ GFLOP, head image [\d.e-]+ GFLOP", flops)
    per_sample = re.findall(r"\(and ([\d.]+) GFLOP of the backbone per sample\)", flops)
    image, ocr, video = map(float, per_sample)
    assert ocr == image
    assert video > 8 * image
    assert "the run: 31,250 steps of 12 samples, 375,000 in total" in output
    assert not list(tmp_path.iterdir())


def test_dry_run_names_the_held_out_data(
    stages: tuple[Path, Path], tmp_path: Path, make_data_set: Callable[..., Path]
) -> None:
    def lines(*settings: str) -> list[str]:
        paths = json.dumps([str(tmp_path / name) for name in ("signs", "gone", "videos.txt")])
        config = load_config(
            stages[1], [f"evaluation.data={paths}", "evaluation.every=2", *settings], check_paths=False
        )
        return [line for line in dry_run(config) if line.startswith("evaluation")]

    train(load_config(stages[0]))
    where = f"evaluation every 2 steps: {tmp_path}"
    assert lines("evaluation.images=6") == [
        f"{where}/signs: 6 samples for head ocr",
        f"{where}/gone: does not exist yet",
        f"{where}/videos.txt: 5 samples for head video",
    ]
    crops = ("evaluation.images=6", "evaluation.crops=3")
    assert lines(*crops, "heads.ocr.crop_scale=[0.2, 0.6]", f'evaluation.data=["{tmp_path}/signs"]') == [
        f"{where}/signs: 6 samples, 3 crops of each, for head ocr"
    ]
    with pytest.raises(UsageError, match=r"^evaluation.crops: head ocr is trained on whole images, without crop_scale"):
        lines(*crops)
    with pytest.raises(UsageError, match=r"^evaluation.crops: head ocr is trained on whole images, without crop_scale"):
        lines(*crops, 'heads.video.data=["later"]')
    with pytest.raises(UsageError, match=r"^evaluation.crops: head video is of kind video, and videos are not cropped"):
        lines(*crops, "evaluation.crop_text_height=[5, 9]")
    assert lines("evaluation.every=0") == []
    table = tmp_path / "groups.csv"
    assert lines(f"evaluation.groups={table}")[3:] == [f"evaluation.groups: {table}: does not exist yet"]
    table.write_text("key,group\na,1\nb,1\nc,2\n")
    assert lines(f"evaluation.groups={table}")[3:] == [f"evaluation.groups: {table}: 2 groups"]
    table.write_text("key,shop\na,1\n")
    with pytest.raises(OvocrError, match=r"^evaluation.groups: .*/groups.csv: has no column 'group'"):
        lines(f"evaluation.groups={table}")
    (tmp_path / "pages").rename(tmp_path / "later")
    assert lines("heads.ocr.num_classes=50")[0] == f"{where}/signs: is for a head whose training data do not exist yet"
    (tmp_path / "later").rename(tmp_path / "pages")
    with pytest.raises(UsageError, match=r"^evaluation.data: .*/other: no head matches the data: image: .*; video: "):
        lines(f'evaluation.data=["{make_data_set("other", [12], words=["a", "b"])}"]')
    with pytest.raises(UsageError, match=r"^evaluation.data: .*/stage1: not a labelled data set \(no manifest.json\)"):
        lines(f'evaluation.data=["{tmp_path}/stage1"]', 'heads.ocr.data=["later", "later"]', "heads.ocr.num_classes=50")


def test_dry_run_without_data_needs_num_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (CONFIGS / "stage1.toml").read_text().replace("num_classes = 2_000_000\n", "")
    (tmp_path / "stage.toml").write_text(text)
    config = load_config(tmp_path / "stage.toml", SMALL[:-1], check_paths=False)
    with pytest.raises(UsageError, match="heads.image.num_classes: required for a dry run without the data"):
        list(dry_run(config))
