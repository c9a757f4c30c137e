"""A rank of test_rank_embeddings.py: python embedding_rank.py RANK WORLD FOLDER PARALLEL.

Embeds the samples of FOLDER/labels in batches of 2, gathers them in small pieces, and writes FOLDER/rank-RANK.pt.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from ovocr.trainer.config.file import load_config
from ovocr.trainer.config.sections import LoaderConfig, RunConfig
from ovocr.trainer.data import evaluation_batches
from ovocr.trainer.data.records import RecordSamples
from ovocr.trainer.ranks import distributed
from ovocr.trainer.ranks.distributed import Ranks, leave_group
from ovocr.trainer.training import rank_embeddings
from ovocr.trainer.training.gradients import local_part
from ovocr.trainer.training.model import build_model
from ovocr.trainer.training.rank_embeddings import EmbeddedImages, RankEmbedder

CPU = torch.device("cpu")
CLASSES = 50


def embed_subsets(
    config: RunConfig, labels: Path, subsets: list[list[int]], ranks: Ranks
) -> tuple[list[EmbeddedImages], list[str]]:
    """Returns the embedded samples of each subset, and the damaged ones of this rank."""
    model = build_model(config, {"ocr": CLASSES}, ranks, CPU)
    damaged: list[str] = []
    embedder = RankEmbedder(ranks, CPU, LoaderConfig(), lambda: False, damaged.append)
    samples = RecordSamples([labels], labels_stored=10, num_classes=CLASSES, image_size=32)
    with model.evaluation_mode():
        found = [embedder.embed(model, "ocr", samples, torch.tensor(numbers).numpy(), "") for numbers in subsets]
        # The second rank is asked to stop: all stop together, although none of the others was.
        stopping = RankEmbedder(ranks, CPU, LoaderConfig(), lambda: ranks.rank == ranks.world - 1, damaged.append)
        assert stopping.embed(model, "ocr", samples, torch.arange(20).numpy(), "") is None
    assert all(module.training for module in model.backbone.modules())
    is_split = [local_part(parameter) is not parameter for parameter in model.backbone.parameters()]
    assert is_split == [model.parallel.sharded] * len(is_split)
    assert None not in found
    return found, damaged


def main(rank: int, world: int, folder: Path, parallel: str) -> None:
    torch.set_num_threads(1)
    evaluation_batches.BATCH = rank_embeddings.BATCH = 2
    distributed._GATHERED_BYTES = 1000  # one embedding at a time, and several tags
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=world)
    config = load_config(folder / "config.toml", [f"run.backbone_parallel={parallel}"])
    subsets = torch.load(folder / "subsets.pt")
    torch.save(embed_subsets(config, folder / "labels", subsets, Ranks.of(None)), folder / f"rank-{rank}.pt")
    leave_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
