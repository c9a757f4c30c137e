"""The backbone on several ranks: replicated (DDP), or with its parameters split over the ranks (FSDP2).

Gradients are summed over the ranks, not averaged, because the heads already compute the gradients of the global batch's
mean. Only the last backward pass of a step communicates.
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
    """The backbone on all ranks together. ``sharded``: whether this rank stores only a part of each parameter."""

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
        """Returns tokens and pooled embeddings, see ``Backbone``."""
        tokens, pooled = self._module(pixels, positions)
        return tokens, pooled

    @contextmanager
    def backward_pass(self, *, last: bool) -> Iterator[None]:
        """Wraps forward and backward of a pass; gradients are summed over ranks in the ``last`` pass of a step."""
        if self.sharded:
            self._module.set_requires_gradient_sync(last)  # type: ignore[operator]
        skip_sync = isinstance(self._module, DistributedDataParallel) and not last
        with self._module.no_sync() if skip_sync else nullcontext():  # type: ignore[operator]
            yield

    def drop_gathered(self) -> None:
        """Drops the whole parameters that FSDP2 keeps after forward passes without a backward pass.

        As long as it keeps them, ``Module.parameters`` returns them instead of this rank's part of each.
        """
        for module in self._module.modules() if self.sharded else ():
            reshard = getattr(module, "reshard", None)
            if reshard is not None:
                reshard()


def _sum_bucket(
    group: dist.ProcessGroup | None,
    bucket: dist.GradBucket,  # type: ignore[name-defined]
) -> torch.futures.Future[Tensor]:
    """Communication hook of DDP that sums a bucket of gradients instead of averaging it."""
    work = dist.all_reduce(bucket.buffer(), group=group, async_op=True)
    return work.get_future().then(lambda future: future.value()[0])


def _shard(backbone: Backbone) -> None:
    """Splits each layer's parameters, then the remaining ones, over the ranks of the default group."""
    try:
        from torch.distributed.fsdp import fully_shard
    except ImportError:  # torch 2.4 and 2.5
        from torch.distributed._composable.fsdp import fully_shard  # type: ignore[attr-defined]
    for module in (*backbone.encoder.layers, backbone):
        sharded = fully_shard(module)
        set_factor = getattr(sharded, "set_gradient_divide_factor", None)
        (set_factor or sharded.set_reduce_scatter_divide_factor)(1.0)
        if hasattr(sharded, "set_force_sum_reduction_for_comms"):
            sharded.set_force_sum_reduction_for_comms(True)  # gloo cannot scale a sum
