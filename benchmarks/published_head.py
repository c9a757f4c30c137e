"""The published multi-label Partial FC, loaded from the user's checkout of OneVision-Encoder.

This repository does not contain its code. Its source uses the device "cuda" throughout; for another device, the name is
replaced in memory before the module runs. Without CUDA its autocast is off, so it computes in float32.
"""

import re
import types
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

MODULE = "training/fused_partial_fc_v2_multi_res.py"
LABELS_PER_SAMPLE = 8  # constant in its code


RELEASED = (64, 1, 0, 0.3, 0.75)  # scale, m1, m2, m3, inter-class filter: CosFace
ARCFACE = (64, 1, 0.5, 0, 0)


class PublishedHead:
    """The published head, by default with its released margin, and AdamW."""

    def __init__(
        self,
        checkout: Path,
        classes: int,
        dim: int,
        rate: float,
        device: torch.device,
        margin: tuple[float, ...] = RELEASED,
    ) -> None:
        if not dist.is_initialized():
            backend = "nccl" if device.type == "cuda" else "gloo"
            dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
        module = load(checkout, device)
        self.head = module.PartialFC_V2(module.CombinedMarginLoss(*margin), dim, classes, rate).to(device)
        self.optimizer: torch.optim.Optimizer | None = None

    @property
    def weight(self) -> torch.nn.Parameter:
        """The class centers."""
        return self.head.weight

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Returns the published head's loss. The head modifies its labels, so it gets a copy."""
        return self.head(embeddings, labels.clone(), labels.shape[1])

    def step(self) -> None:
        """Runs torch.optim.AdamW on the dense gradient, as its training script does."""
        if self.optimizer is None:
            self.optimizer = torch.optim.AdamW([self.weight], lr=1e-3)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def load(checkout: Path, device: torch.device) -> types.ModuleType:
    """Returns the checkout's module. Raises SystemExit with one line if it is missing."""
    path = checkout / MODULE
    if not path.is_file():
        raise SystemExit(f"--reference {checkout}: it does not contain {MODULE}")
    source = path.read_text()
    if device.type != "cuda":
        source = source.replace('"cuda"', f'"{device}"')
        source = re.sub(r"\.cuda\(\)", f'.to("{device}")', source)
    module = types.ModuleType("published_head_module")
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module
