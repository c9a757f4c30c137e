"""A rank of test_word_measures_ranks.py: python rank_process.py RANK WORLD FOLDER.

Reads FOLDER/cases.pt, measures every case with this rank's part of the class centers and writes FOLDER/rank-RANK.pt.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from ovocr.base.errors import OvocrError
from ovocr.trainer.measures.word_measures import OwnCenters, measure_words
from ovocr.trainer.ranks.distributed import Ranks, leave_group, row_range


def main(rank: int, world: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=world)
    results: list[object] = []
    for embeddings, tags, weight, options in torch.load(folder / "cases.pt", weights_only=False):
        first, end = row_range(len(weight), rank, world)
        centers = OwnCenters(weight[first:end], first, len(weight))
        try:
            results.append(measure_words(embeddings, tags, centers, ranks=Ranks.of(None), **options).to_json())
        except OvocrError as error:
            results.append(str(error))
    torch.save(results, folder / f"rank-{rank}.pt")
    leave_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
