"""Multi-label Partial FC: K softmax classifiers over sampled class centers, from one pass over the centers.

Each image b has T stored tags, of which K slots are drawn a step. Slot k is a softmax over a sample S_k of classes:
every positive of slot k in the global batch, and random negatives, one from each block of 1 / sample_rate classes.

    loss = mean over k, b of  -log( exp(t_bk) / (sum of exp(s cos_bc) over the negatives c in S_k + exp(t_bk)) )

with t_bk the margin logit of the positive. All samples overlap and cos_bc is the same in all of them, so one product
with their union and a membership matrix gives all K sums. Source: Partial FC (arXiv 2203.15565), its multi-label form
in UNICOM (arXiv 2304.05884); the exclusion of an image's own tags and the single pass are this project's.

Shape suffixes: b local images, B images of the global batch, D embedding size, T stored tags, K drawn slots.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ovocr.trainer.distributed import Ranks, row_range
from ovocr.trainer.heads.margin import Margin
from ovocr.trainer.heads.sampling import NegativeSampler, draw_slots
from ovocr.trainer.heads.tiles import Pairs, Sample, TiledSoftmax, unit

# Rows of initial centers come in blocks with a seed of their own, so that any rank makes its rows without the others'.
_INIT_BLOCK = 4096
_INIT_STD = 0.01


@dataclass(frozen=True)
class PartialFCReport:
    """What the last step saw, as tensors still on the device: reading them there costs no wait until ``.item()``.

    positive_cosine: mean cosine of the positives by slot [K].
    negative_cosine: mean cosine of all negatives, a scalar.
    sample_loss: loss of each image of the global batch, mean over its slots [B].
    sample_size: sampled centers of this rank, all slots together.
    """

    positive_cosine: Tensor
    negative_cosine: Tensor
    sample_loss: Tensor
    sample_size: int


class PartialFC(nn.Module):
    """Class centers of this rank and the loss over all ranks' centers.

    embedding_dim, num_classes: D and C. labels_per_sample: K, slots drawn of the stored tags each step.
    sample_rate: share of the classes drawn as negatives of a slot; 1.0 is the exact softmax over all classes.
    sampling: "independent" draws negatives for each slot, "shared" once for all.
    mask_own_tags: no stored tag of an image is a negative of it; off, only a slot's own positive is spared.
    implementation: "torch" (any device); "auto" picks the best one there is for the device.
    process_group: the ranks that share the centers; None: the default group if there is one, else a single rank.
    seed: of the initial centers N(0, 0.01) and of all draws; the same on every rank.

    ``weight`` [rows, D] holds this rank's consecutive rows, row_range(C, rank, world); its gradient is sparse COO over
    the touched rows, each once and ascending, and dense at sample_rate 1.0.

    Raises ValueError for arguments out of range.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        labels_per_sample: int = 8,
        sample_rate: float = 0.1,
        sampling: Literal["independent", "shared"] = "independent",
        mask_own_tags: bool = True,
        margin: Margin = Margin(),
        implementation: Literal["auto", "torch"] = "auto",
        process_group: dist.ProcessGroup | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if embedding_dim < 1 or num_classes < 1 or labels_per_sample < 1:
            raise ValueError("embedding_dim, num_classes and labels_per_sample must be at least 1")
        if not 0.0 < sample_rate <= 1.0:
            raise ValueError(f"sample_rate must be more than 0 and at most 1, not {sample_rate}")
        if sampling not in ("independent", "shared"):
            raise ValueError(f"sampling must be 'independent' or 'shared', not {sampling!r}")
        if implementation not in ("auto", "torch"):
            raise ValueError(f"implementation must be 'auto' or 'torch', not {implementation!r}")
        self.embedding_dim, self.num_classes, self.labels_per_sample = embedding_dim, num_classes, labels_per_sample
        self.sample_rate, self.sampling, self.mask_own_tags = sample_rate, sampling, mask_own_tags
        self.margin, self.seed = margin, seed
        self.ranks = Ranks.of(process_group)
        self.first_class, self.last_class = row_range(num_classes, self.ranks.rank, self.ranks.world)
        self.sampler = NegativeSampler(num_classes, sample_rate)
        self.step = 0
        self.last_report: PartialFCReport | None = None
        self.weight = nn.Parameter(initial_centers(self.first_class, self.last_class, embedding_dim, seed))

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The loss, a scalar: the mean over the global batch, the same on every rank.

        embeddings [b, D] of any length (they are normalised here) and any floating dtype; labels int64 [b, T], T >= K,
        on any device: best on the CPU, where their range is checked.
        Every rank calls this the same number of times; b may differ between ranks and may be 0. Gradients are those of
        the global mean: whoever wraps the backbone sums them over ranks. In training mode each call is a step of the
        draws. Raises ValueError for wrong shapes and, where the labels are on the CPU, for labels out of range.
        """
        self._check(embeddings, labels)
        labels = labels.to(embeddings.device, non_blocking=True)
        dtype = torch.promote_types(embeddings.dtype, torch.float32)
        # A caller's autocast would round the products of the forward pass and not those of the backward pass.
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings_bD = nn.functional.normalize(embeddings.to(dtype), dim=1)
            sizes = self.ranks.sizes(embeddings.shape[0], embeddings.device)
            labels_BT = self.ranks.gather_rows(labels, sizes)
            offset = sum(sizes[: self.ranks.rank])
            loss = _Loss.apply(embeddings_bD, self.weight, self, labels_BT, sizes, offset)
        if self.training:
            self.step += 1
        return loss

    def get_extra_state(self) -> dict[str, Any]:
        """The step of the draws, so that a resumed run goes on with the draws it would have made."""
        return {"step": self.step}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take the step of the draws from a state_dict."""
        self.step = int(state["step"])

    def extra_repr(self) -> str:
        """Configuration, for print(module)."""
        return (
            f"{self.embedding_dim}, {self.num_classes}, rows {self.first_class}..{self.last_class}, "
            f"labels_per_sample={self.labels_per_sample}, sample_rate={self.sample_rate}, sampling={self.sampling}, "
            f"mask_own_tags={self.mask_own_tags}, {self.margin}"
        )

    def draw_labels(self, labels_BT: Tensor) -> Tensor:
        """The K tags of each image of the global batch that this step trains on, int64 [B, K]."""
        batch, stored = labels_BT.shape
        slots_BK = draw_slots(
            batch, stored, self.labels_per_sample, seed=self.seed, step=self.step, device=labels_BT.device
        )
        return labels_BT.gather(1, slots_BK)

    def _check(self, embeddings: Tensor, labels: Tensor) -> None:
        if embeddings.dim() != 2 or embeddings.shape[1] != self.embedding_dim:
            raise ValueError(f"embeddings must be [batch, {self.embedding_dim}], not {list(embeddings.shape)}")
        if labels.dim() != 2 or labels.shape[0] != embeddings.shape[0] or labels.dtype != torch.int64:
            raise ValueError(
                f"labels must be int64 [{embeddings.shape[0]}, stored tags], not {labels.dtype} {list(labels.shape)}"
            )
        if labels.shape[1] < self.labels_per_sample:
            raise ValueError(f"{self.labels_per_sample} of {labels.shape[1]} stored tags cannot be drawn")
        if labels.device.type == "cpu" and labels.numel():
            wrong = (labels < 0) | (labels >= self.num_classes)
            if wrong.any():
                image, slot = wrong.nonzero()[0].tolist()
                raise ValueError(
                    f"label {int(labels[image, slot])} of sample {image}, slot {slot} is not a class: "
                    f"0 to {self.num_classes - 1}"
                )

    def draw_sample(self, drawn_BK: Tensor) -> Sample:
        """This rank's centers for the step: all positives it owns and its share of the negatives."""
        rows = self.last_class - self.first_class
        if self.sample_rate == 1.0:
            return Sample(rows=None, members=None, size=rows)
        shared = self.sampling == "shared"
        members = torch.zeros((rows, 1 if shared else self.labels_per_sample), dtype=torch.bool, device=drawn_BK.device)
        for slot in range(members.shape[1]):
            positives = (drawn_BK if shared else drawn_BK[:, slot]).flatten()
            mine = positives[(positives >= self.first_class) & (positives < self.last_class)]
            negatives = self.sampler.draw(
                self.first_class, self.last_class, seed=self.seed, step=self.step, slot=slot, device=drawn_BK.device
            )
            members[torch.cat([mine, negatives]) - self.first_class, slot] = True
        sampled = members.any(1).nonzero().squeeze(1)
        return Sample(rows=sampled, members=None if shared else members[sampled], size=sampled.shape[0])

    def in_sample(self, drawn_BK: Tensor) -> Tensor:
        """Whether drawn tag j of image b is in slot k's sample, bool [B, K (tag j), K (slot k)], on any rank alike."""
        batch, slots = drawn_BK.shape
        if self.sample_rate == 1.0 or self.sampling == "shared":
            return drawn_BK.new_ones((batch, slots, slots), dtype=torch.bool)
        slot_K = torch.arange(slots, device=drawn_BK.device)
        found = self.sampler.contains(drawn_BK.unsqueeze(2), slot_K, seed=self.seed, step=self.step)
        for slot in range(slots):
            found[:, :, slot] |= torch.isin(drawn_BK, drawn_BK[:, slot])
        return found


def initial_centers(first: int, last: int, dim: int, seed: int) -> Tensor:
    """Rows [first, last) of the initial class centers N(0, 0.01), float32: the same rows for any split over ranks."""
    weight = torch.empty((last - first, dim))
    generator = torch.Generator()
    for block in range(first // _INIT_BLOCK, -(-last // _INIT_BLOCK)):
        start, stop = block * _INIT_BLOCK, (block + 1) * _INIT_BLOCK
        generator.manual_seed(int.from_bytes(blake2b(f"{seed} {block}".encode(), digest_size=8).digest(), "big") >> 1)
        rows = torch.normal(0.0, _INIT_STD, (_INIT_BLOCK, dim), generator=generator)
        low, high = max(start, first), min(stop, last)
        weight[low - first : high - first] = rows[low - start : high - start]
    return weight


class _Loss(torch.autograd.Function):
    """Forward keeps sums and cosines of the drawn tags; backward streams over the centers again."""

    @staticmethod
    def forward(
        ctx: Any,
        embeddings_bD: Tensor,
        weight_CD: Tensor,
        head: PartialFC,
        labels_BT: Tensor,
        sizes: list[int],
        offset: int,
    ) -> Tensor:
        ranks, margin = head.ranks, head.margin
        embeddings_BD = ranks.gather_rows(embeddings_bD.detach(), sizes)
        drawn_BK = head.draw_labels(labels_BT)
        sample = head.draw_sample(drawn_BK)
        softmax = TiledSoftmax(embeddings_BD, weight_CD.detach(), sample, margin)
        skipped = _pairs(labels_BT if head.mask_own_tags else drawn_BK, head, sample)

        sums_BK, cosine_sum = softmax.sums(skipped)
        cos_BK = _drawn_cosines(embeddings_BD, weight_CD.detach(), drawn_BK, head)
        counts = embeddings_BD.new_tensor([embeddings_BD.shape[0] * sample.size - skipped.images.shape[0]])
        packed = ranks.sum(torch.cat([sums_BK.flatten(), cos_BK.flatten(), cosine_sum[None], counts]))
        sums_BK = packed[: sums_BK.numel()].view_as(sums_BK)
        cos_BK = packed[sums_BK.numel() : -2].view_as(cos_BK)
        others_BKK = None
        if not head.mask_own_tags:
            others_BKK = _other_drawn_tags(drawn_BK, cos_BK, head, softmax.shift)
            sums_BK = sums_BK + others_BKK.sum(1)

        logit_BK, slope_BK = margin.target(cos_BK)
        target_BK = logit_BK - softmax.shift
        # log(1 + sum / exp(target)), not log(sum + exp(target)) - target: a small loss keeps its digits.
        loss_BK = torch.logaddexp(torch.log(sums_BK) - target_BK, torch.zeros_like(target_BK))
        log_z_BK = target_BK + loss_BK
        ctx.head, ctx.softmax, ctx.skipped, ctx.sizes, ctx.offset = head, softmax, skipped, sizes, offset
        ctx.local = embeddings_bD.shape[0]
        ctx.saved = (drawn_BK, cos_BK, slope_BK, log_z_BK, loss_BK, others_BKK)
        head.last_report = PartialFCReport(
            positive_cosine=cos_BK.mean(0),
            negative_cosine=packed[-2] / packed[-1].clamp_min(1.0),
            sample_loss=loss_BK.mean(1),
            sample_size=sample.size,
        )
        return loss_BK.mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        head, softmax = ctx.head, ctx.softmax
        drawn_BK, cos_BK, slope_BK, log_z_BK, loss_BK, others_BKK = ctx.saved
        scale, per_pair = head.margin.scale, grad / max(1, cos_BK.numel())
        # d loss_bk / d (a negative's cos) = s exp(logit) / Z_bk;  d loss_bk / d (the positive's) = -(1 - p_bk) slope.
        weight_BK = scale * per_pair * torch.exp(-log_z_BK)
        own_BK = torch.expm1(-loss_BK) * slope_BK * per_pair
        if others_BKK is not None:
            threshold = head.margin.filter_threshold
            kept = 1.0 if threshold is None else (cos_BK <= threshold).to(cos_BK.dtype)
            own_BK = own_BK + (others_BKK * weight_BK.unsqueeze(1)).sum(2) * kept
        if softmax.sample.members is None:
            weight_BK = weight_BK.sum(1, keepdim=True)
        images, positions, valid = _places(drawn_BK, head, softmax.sample)
        own, order = Pairs.of(images[valid], positions[valid])
        grad_BD, grad_SD = softmax.gradients(ctx.skipped, weight_BK, own, own_BK.flatten()[valid][order])
        grad_bD = head.ranks.sum(grad_BD)[ctx.offset : ctx.offset + ctx.local]
        return grad_bD, _weight_gradient(grad_SD, softmax), None, None, None, None


def _weight_gradient(grad_SD: Tensor, softmax: TiledSoftmax) -> Tensor:
    """Dense where every row was in the sample, else sparse COO over the sampled rows."""
    grad_SD = grad_SD.to(softmax.weight_CD.dtype)
    rows = softmax.sample.rows
    if rows is None:
        return grad_SD
    shape = softmax.weight_CD.shape
    return torch.sparse_coo_tensor(rows.unsqueeze(0), grad_SD, shape, is_coalesced=True, check_invariants=False)


def _places(tags_BT: Tensor, head: PartialFC, sample: Sample) -> tuple[Tensor, Tensor, Tensor]:
    """Image, position in this rank's sample, and whether it is there, of every tag; each flat [B * T]."""
    rows = tags_BT.flatten() - head.first_class
    images = torch.arange(tags_BT.shape[0], device=tags_BT.device).repeat_interleave(tags_BT.shape[1])
    positions, found = sample.positions(rows)
    return images, positions, found


def _pairs(tags_BT: Tensor, head: PartialFC, sample: Sample) -> Pairs:
    """The distinct pairs of an image and one of these tags that is in this rank's sample."""
    images, positions, found = _places(tags_BT, head, sample)
    keys = torch.unique(positions[found] * tags_BT.shape[0] + images[found])
    return Pairs(keys % max(1, tags_BT.shape[0]), keys // max(1, tags_BT.shape[0]))


def _drawn_cosines(embeddings_BD: Tensor, weight_CD: Tensor, drawn_BK: Tensor, head: PartialFC) -> Tensor:
    """Cosines of the drawn tags [B, K], zero where another rank owns the center: the sum over ranks has them all."""
    cos_BK = embeddings_BD.new_zeros(drawn_BK.shape)
    images, slots = ((drawn_BK >= head.first_class) & (drawn_BK < head.last_class)).nonzero(as_tuple=True)
    centers, _ = unit(weight_CD[drawn_BK[images, slots] - head.first_class].to(embeddings_BD.dtype))
    cos_BK[images, slots] = (embeddings_BD[images] * centers).sum(1)
    return cos_BK


def _other_drawn_tags(drawn_BK: Tensor, cos_BK: Tensor, head: PartialFC, shift: float) -> Tensor:
    """exp(logit - shift) of drawn tag j of an image as a negative of its slot k, [B, K (tag j), K (slot k)].

    Zero where tag j is slot k's own positive, is not in slot k's sample, or stands at an earlier slot already.
    """
    same_BKK = drawn_BK.unsqueeze(2) == drawn_BK.unsqueeze(1)
    repeated_BK = torch.tril(same_BKK, diagonal=-1).any(2)
    counts_BKK = head.in_sample(drawn_BK) & ~same_BKK & ~repeated_BK.unsqueeze(2)
    threshold = head.margin.filter_threshold
    negative_BK = cos_BK if threshold is None else torch.where(cos_BK > threshold, torch.zeros_like(cos_BK), cos_BK)
    return torch.exp(head.margin.scale * negative_BK - shift).unsqueeze(2) * counts_BKK
