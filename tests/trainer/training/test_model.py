"""Building models and optimizers from a configuration, and loading trained runs."""

from dataclasses import fields
from inspect import signature
from pathlib import Path

import pytest
import torch

from ovocr.base.errors import OvocrError
from ovocr.trainer import Margin, PartialFC
from ovocr.trainer.config.file import load_config
from ovocr.trainer.config.heads import HeadConfig, MarginConfig
from ovocr.trainer.export.encoder_folder import export_encoder
from ovocr.trainer.ranks.distributed import Ranks
from ovocr.trainer.training.loop import train
from ovocr.trainer.training.model import TrainedRun, build_model, build_optimizers

CPU = torch.device("cpu")


def test_configured_heads_have_the_defaults_of_partial_fc() -> None:
    names = {"labels_per_sample", "sample_rate", "sampling", "mask_own_tags", "implementation", "embedding_norm"}
    names |= {"objective", "negative_weight"}
    parameters = signature(PartialFC).parameters
    assert names | {"num_classes", "margin"} == set(HeadConfig.model_fields) & set(parameters)
    assert {name: HeadConfig.model_fields[name].default for name in names} == {
        name: parameters[name].default for name in names
    }
    assert MarginConfig().model_dump() == {field.name: getattr(Margin(), field.name) for field in fields(Margin)}


def test_only_matrices_are_decayed(config_file: Path) -> None:
    config = load_config(config_file, ["optimizer.weight_decay=0.3"])
    model = build_model(config, {"ocr": 50}, Ranks(), CPU)
    optimizers = build_optimizers(config, model)
    names = {id(parameter): name for name, parameter in model.backbone.named_parameters()}
    decays = {
        names[id(parameter)]: group["weight_decay"]
        for group in optimizers.backbone.param_groups
        for parameter in group["params"]
    }
    assert set(decays) == set(names.values())
    assert set(decays.values()) == {0.0, 0.3}
    for name, decay in decays.items():
        spared = name.endswith("bias") or "norm" in name or name == "head.probe"
        assert decay == (0.0 if spared else 0.3), name
    assert optimizers.heads["ocr"].param_groups[0]["weight_decay"] == 0.3


def test_heads_draw_independently(config_file: Path) -> None:
    text = config_file.read_text()
    config_file.write_text(text + text[text.index("[heads.ocr]") :].replace("[heads.ocr]", "[heads.second]"))
    model = build_model(load_config(config_file), {"ocr": 50, "second": 50}, Ranks(), CPU)
    first, second = model.heads["ocr"], model.heads["second"]
    assert first.seed != second.seed
    assert not torch.equal(first.weight, second.weight)
    again = build_model(load_config(config_file), {"ocr": 50, "second": 50}, Ranks(), CPU)
    assert torch.equal(again.backbone.head.probe, model.backbone.head.probe)
    assert torch.equal(again.heads["ocr"].weight, first.weight)


def test_learning_rates_are_scaled_by_head(config_file: Path) -> None:
    config = load_config(config_file)
    optimizers = build_optimizers(config, build_model(config, {"ocr": 50}, Ranks(), CPU))
    optimizers.set_learning_rate(0.25, {"ocr": 4.0})
    assert {group["lr"] for group in optimizers.backbone.param_groups} == {0.25}
    assert optimizers.heads["ocr"].param_groups[0]["lr"] == 1.0


def test_run_starts_from_another_run_that_is_then_deleted(config_file: Path, tmp_path: Path) -> None:
    train(load_config(config_file, ["run.steps=2"]))
    export_encoder(tmp_path / "run", tmp_path / "start")
    settings = [f"backbone.init_from={tmp_path / 'start'}", f"run.output={tmp_path / 'next'}", "run.steps=2"]
    frozen = [*settings, "optimizer.lr=1e-30"]
    train(load_config(config_file, frozen))
    for file in (tmp_path / "start").iterdir():
        file.unlink()
    started = TrainedRun.load(tmp_path / "next", CPU).model.backbone
    before = TrainedRun.load(tmp_path / "run", CPU).model.backbone
    torch.testing.assert_close(started.state_dict(), before.state_dict())


@pytest.mark.parametrize("part", ["state.json", ".metadata", "__0_0.distcp"])
@pytest.mark.parametrize("damage", ["gone", "cut", "garbage"])
def test_damaged_checkpoint_is_a_one_line_error(config_file: Path, tmp_path: Path, part: str, damage: str) -> None:
    train(load_config(config_file, ["run.steps=2"]))
    file = tmp_path / "run" / "checkpoints" / "00000002" / part
    content = file.read_bytes()
    file.unlink()
    if damage != "gone":
        file.write_bytes(content[: len(content) // 20] if damage == "cut" else b"garbage" * (len(content) // 7))
    with pytest.raises(OvocrError, match=r"run(: no complete checkpoint yet|/checkpoints/00000002.*: )") as raised:
        TrainedRun.load(tmp_path / "run", CPU)
    assert len(str(raised.value).splitlines()) == 1


def test_flipped_bit_in_a_checkpoint_is_detected(config_file: Path, tmp_path: Path) -> None:
    train(load_config(config_file, ["run.steps=2"]))
    file = tmp_path / "run" / "checkpoints" / "00000002" / "__0_0.distcp"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(OvocrError, match=r"__0_0.distcp: checksum does not match; remove .*00000002 to resume from an"):
        TrainedRun.load(tmp_path / "run", CPU)


def test_checkpoint_cannot_run_code(config_file: Path, tmp_path: Path) -> None:
    """The index of a checkpoint is a pickle, and a stranger's pickle may name any function."""
    train(load_config(config_file, ["run.steps=2"]))
    target = tmp_path / "run-by-the-pickle"
    index = tmp_path / "run" / "checkpoints" / "00000002" / ".metadata"
    index.write_bytes(b"cos\nsystem\n(V" + f"touch {target}".encode() + b"\ntR.")
    with pytest.raises(OvocrError, match="it names os.system, which is not allowed in an index"):
        TrainedRun.load(tmp_path / "run", CPU)
    assert not target.exists()
