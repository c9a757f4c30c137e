"""The backbone on several ranks: whole on each (DDP), or its parameters spread over them (FSDP2).

Gradients are summed over the ranks, not averaged: the heads' gradients are already those of the global batch's mean.
Of the backward passes of a step only the last one sends anything.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ovocr.trainer.backbone.vision_transformer import Backbone
from ovocr.trainer.ranks.distributed import Ranks


class ParallelBackbone:
    """The backbone as all ranks run it together; ``sharded``: whether this rank holds a part of each parameter only."""

    def __init__(self, backbone: Backbone, kind: Literal["ddp", "fsdp2"], ranks: Ranks) -> None:
        self.sharded = kind == "fsdp2" and ranks.world > 1
        self._module: nn.Module = backbone
        if self.sharded:
            _shard(backbone)
        elif ranks.world > 1:
            ids = [torch.cuda.current_device()] if next(backbone.parameters()).is_cuda else None
            wrapped = DistributedDataParallel(
                backbone,
                device_ids=ids,
                process_group=ranks.group,
                gradient_as_bucket_view=True,
            )
            wrapped.register_comm_hook(ranks.group, _sum_bucket)
            self._module = wrapped

    def __call__(self, pixels: Tensor, positions: Tensor | None) -> tuple[Tensor, Tensor]:
        """As ``Backbone``: tokens and pooled."""
        tokens, pooled = self._module(pixels, positions)
        return tokens, pooled

    @contextmanager
    def backward_pass(self, *, last: bool) -> Iterator[None]:
        """Around forward and backward of a pass; ``last``: of the step, whose gradients are then summed."""
        if self.sharded:
            self._module.set_requires_gradient_sync(last)  # type: ignore[operator]
        silent = isinstance(self._module, DistributedDataParallel) and not last
        with self._module.no_sync() if silent else nullcontext():  # type: ignore[operator]
            yield


def _sum_bucket(
    group: dist.ProcessGroup | None,
    bucket: dist.GradBucket,  # type: ignore[name-defined]
) -> torch.futures.Future[Tensor]:
    """What DDP does with a bucket of gradients in place of averaging."""
    work = dist.all_reduce(bucket.buffer(), group=group, async_op=True)
    return work.get_future().then(lambda future: future.value()[0])


def _shard(backbone: Backbone) -> None:
    """Spread each layer's parameters, and then the rest, over the ranks of the default group."""
    try:
        from torch.distributed.fsdp import fully_shard
    except ImportError:  # torch 2.4 and 2.5
        from torch.distributed._composable.fsdp import fully_shard  # type: ignore[attr-defined]
    for module in (*backbone.encoder.layers, backbone):
        sharded = fully_shard(module)
        newer = getattr(sharded, "set_gradient_divide_factor", None)
        (newer or sharded.set_reduce_scatter_divide_factor)(1.0)
        if hasattr(sharded, "set_force_sum_reduction_for_comms"):
            sharded.set_force_sum_reduction_for_comms(True)  # gloo has no sum with a factor
