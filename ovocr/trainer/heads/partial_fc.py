"""Multi-label Partial FC: K softmax classifiers over sampled class centers, from one pass over the centers.

Each image b has T stored tags, of which K slots are drawn a step. Slot k is a softmax over a sample S_k of classes:
every positive of slot k in the global batch, and random negatives, one from each block of 1 / sample_rate classes. All
samples overlap and cos_bc is the same in all of them, so one product with their union and a membership matrix gives all
K sums. Source: Partial FC (arXiv 2203.15565), its multi-label form
in UNICOM (arXiv 2304.05884); the exclusion of an image's own tags and the single pass are this project's.

Shape suffixes: b local images, B images of the global batch, D embedding size, T stored tags, K drawn slots.
"""

import weakref
from functools import partial
from hashlib import blake2b
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ovocr.trainer.heads.embedding_norm import EmbeddingNorm
from ovocr.trainer.heads.loss import MultiLabelLoss, SoftmaxFactory, Step, StepReport
from ovocr.trainer.heads.margin import Margin
from ovocr.trainer.heads.sampled_centers import SampledCenters
from ovocr.trainer.heads.sampling import NegativeSampler, draw_slots
from ovocr.trainer.heads.torch_softmax import TorchSoftmax
from ovocr.trainer.kernels.availability import choose_implementation
from ovocr.trainer.kernels.workspace import LentMemory
from ovocr.trainer.optim.row_gradients import make_room, merge_rows
from ovocr.trainer.ranks.distributed import Ranks, row_range

# Rows of initial centers come in blocks with a seed of their own, so that any rank makes its rows without the others'.
_INIT_BLOCK = 4096
_INIT_STD = 0.01


class PartialFC(nn.Module):
    """Class centers of this rank and the loss over all ranks' centers.

    embedding_dim, num_classes: D and C. labels_per_sample: K, slots drawn of the stored tags each step.
    sample_rate: share of the classes drawn as negatives of a slot; 1.0 is the exact softmax over all classes.
    sampling: "independent" draws negatives for each slot, "shared" once for all.
    mask_own_tags: no stored tag of an image is a negative of it; off, only a slot's own positive is spared.
    implementation: "torch" (any device), "triton" (CUDA; its products are in bfloat16 where the embeddings are, or
    where torch.set_float32_matmul_precision is "medium"); "auto": Triton for float32 centers on CUDA, else torch.
    process_group: the ranks that share the centers; None: the default group if there is one, else a single rank.
    seed: of the initial centers N(0, 0.01) and of all draws; the same on every rank.
    embedding_norm: "batch" normalises embeddings by the global batch of a call first, as ``EmbeddingNorm``.
    passes_per_step: forward calls that one optimizer step accumulates; they share the negatives and draw their own
    slots, so that the rows they touch together are little more than those of one.

    ``weight`` [rows, D] holds this rank's consecutive rows, row_range(C, rank, world); its gradient is sparse COO over
    the touched rows, each once and ascending, and dense at sample_rate 1.0. Several passes are merged row by row; where
    they touch more than half of the rows the gradient is dense and knows which (``row_gradients.touched_rows``).

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
        implementation: Literal["auto", "torch", "triton"] = "auto",
        process_group: dist.ProcessGroup | None = None,
        seed: int = 0,
        passes_per_step: int = 1,
        embedding_norm: Literal["none", "batch"] = "none",
    ) -> None:
        super().__init__()
        if min(embedding_dim, num_classes, labels_per_sample, passes_per_step) < 1:
            raise ValueError("embedding_dim, num_classes, labels_per_sample and passes_per_step must be at least 1")
        if not 0.0 < sample_rate <= 1.0:
            raise ValueError(f"sample_rate must be more than 0 and at most 1, not {sample_rate}")
        if sampling not in ("independent", "shared"):
            raise ValueError(f"sampling must be 'independent' or 'shared', not {sampling!r}")
        if embedding_norm not in ("none", "batch"):
            raise ValueError(f"embedding_norm must be 'none' or 'batch', not {embedding_norm!r}")
        if implementation not in ("auto", "torch", "triton"):
            raise ValueError(f"implementation must be 'auto', 'torch' or 'triton', not {implementation!r}")
        self.embedding_dim, self.num_classes, self.labels_per_sample = embedding_dim, num_classes, labels_per_sample
        self.sample_rate, self.sampling, self.mask_own_tags = sample_rate, sampling, mask_own_tags
        self.margin, self.implementation, self.seed = margin, implementation, seed
        self.passes_per_step = passes_per_step
        self.ranks = Ranks.of(process_group)
        self.first_class, self.last_class = row_range(num_classes, self.ranks.rank, self.ranks.world)
        self.sampler = NegativeSampler(num_classes, sample_rate)
        self.step = 0
        self.last_report: StepReport | None = None
        self.weight = nn.Parameter(initial_centers(self.first_class, self.last_class, embedding_dim, seed))
        self.embedding_norm = EmbeddingNorm(embedding_dim) if embedding_norm == "batch" else None
        self._merged_weight = 0
        self._gradient_memory = LentMemory()

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
            embeddings_bD = _unit(self.embed(embeddings.to(dtype)))
            sizes = self.ranks.sizes(embeddings.shape[0], embeddings.device)
            labels_BT = self.ranks.gather_rows(labels, sizes)
            step = self._draw_step(labels_BT, sizes, self._softmax(embeddings.dtype))
            self._merge_gradients()
            loss, self.last_report = MultiLabelLoss.apply(embeddings_bD, self.weight, step)
        if self.training:
            self.step += 1
        return loss

    def embed(self, embeddings: Tensor) -> Tensor:
        """What the class centers see of embeddings [b, D], of any length: normalised by ``embedding_norm``."""
        return embeddings if self.embedding_norm is None else self.embedding_norm(embeddings, self.ranks)

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

    @property
    def draw_of_negatives(self) -> int:
        """The counter of the current step's draw of negatives, which all its passes share."""
        return self.step // self.passes_per_step

    def _draw_step(self, labels_BT: Tensor, sizes: list[int], softmax: SoftmaxFactory) -> Step:
        drawn_BK = self.draw_labels(labels_BT)
        return Step(
            ranks=self.ranks,
            sizes=sizes,
            sample=self.draw_sample(drawn_BK),
            margin=self.margin,
            softmax=softmax,
            row_buffer=self._row_buffer,
            drawn_BK=self._local_rows(drawn_BK),
            skipped_BT=self._local_rows(labels_BT if self.mask_own_tags else drawn_BK),
            others_BKK=None if self.mask_own_tags else self._drawn_as_negatives(drawn_BK),
        )

    def _softmax(self, dtype: torch.dtype) -> SoftmaxFactory:
        """The implementation for embeddings of this dtype and the weight's device."""
        if choose_implementation(self.implementation, self.weight) == "torch":
            return TorchSoftmax
        from ovocr.trainer.heads.triton_softmax import TritonSoftmax

        bfloat16 = dtype == torch.bfloat16 or torch.get_float32_matmul_precision() == "medium"
        return partial(TritonSoftmax, products=torch.bfloat16 if bfloat16 else torch.float32)

    def _row_buffer(self, rows: int, dtype: torch.dtype) -> Tensor:
        if self.weight.device.type == "cpu":
            return self._gradient_memory.matrix(rows, self.embedding_dim, dtype)
        return torch.empty((rows, self.embedding_dim), dtype=dtype, device=self.weight.device)

    def _merge_gradients(self) -> None:
        """Have the gradients of several passes merged row by row; once for each Parameter that becomes the weight."""
        if self._merged_weight == id(self.weight) or not (self.weight.requires_grad and self.weight.is_leaf):
            return
        self._merged_weight = id(self.weight)
        incoming: list[Tensor] = []

        def before(gradient: Tensor) -> None:
            incoming.clear()
            if gradient.is_sparse and gradient.is_coalesced():  # else several passes in one
                incoming.append(gradient._indices()[0])
                parameter = weight()
                if parameter is not None:
                    make_room(parameter, incoming[0])

        def after(parameter: Tensor) -> None:
            if incoming:
                merge_rows(parameter, incoming.pop())

        weight = weakref.ref(self.weight)  # a hook that held its own parameter would keep it for ever
        self.weight.register_hook(before)
        self.weight.register_post_accumulate_grad_hook(after)

    def _check(self, embeddings: Tensor, labels: Tensor) -> None:
        if not embeddings.is_floating_point():
            raise ValueError(f"embeddings must be floating-point numbers, not {embeddings.dtype}")
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

    def draw_sample(self, drawn_BK: Tensor) -> SampledCenters:
        """This rank's centers for the step: all positives it owns and its share of the negatives."""
        rows = self.last_class - self.first_class
        if self.sample_rate == 1.0:
            return SampledCenters(rows=None, members=None, size=rows)
        shared = self.sampling == "shared"
        slots_K = torch.arange(1 if shared else self.labels_per_sample, device=drawn_BK.device)
        negatives_KN = self.sampler.draw(
            self.first_class, self.last_class, seed=self.seed, step=self.draw_of_negatives, slots=slots_K
        )
        positives_KN = drawn_BK.flatten().unsqueeze(0) if shared else drawn_BK.T
        # Marked row by row, so that nothing is sorted and the device is waited for once; what another rank owns goes to
        # the row behind the last, which the number -1 means.
        members_CK = torch.zeros((rows + 1, slots_K.shape[0]), dtype=torch.bool, device=drawn_BK.device)
        for classes_KN in (negatives_KN, positives_KN):
            members_CK[self._local_rows(classes_KN), slots_K.unsqueeze(1)] = True
        sampled = members_CK[:-1].any(1).nonzero().squeeze(1)
        return SampledCenters(rows=sampled, members=None if shared else members_CK[sampled], size=sampled.shape[0])

    def _local_rows(self, classes: Tensor) -> Tensor:
        """Row numbers of class ids in this rank's ``weight``; -1 for a class that another rank owns."""
        mine = (classes >= self.first_class) & (classes < self.last_class)
        return torch.where(mine, classes - self.first_class, -1)

    def _drawn_as_negatives(self, drawn_BK: Tensor) -> Tensor:
        """Whether drawn tag j of image b is a negative of its slot k, bool [B, K (tag j), K (slot k)].

        It is where it is in slot k's sample and not slot k's own positive; a tag drawn twice counts at its first slot.
        """
        same_BKK = drawn_BK.unsqueeze(2) == drawn_BK.unsqueeze(1)
        repeated_BK = torch.tril(same_BKK, diagonal=-1).any(2)
        return self._in_sample(drawn_BK) & ~same_BKK & ~repeated_BK.unsqueeze(2)

    def _in_sample(self, drawn_BK: Tensor) -> Tensor:
        """Whether drawn tag j of image b is in slot k's sample, bool [B, K (tag j), K (slot k)], on any rank alike."""
        batch, slots = drawn_BK.shape
        if self.sample_rate == 1.0 or self.sampling == "shared":
            return drawn_BK.new_ones((batch, slots, slots), dtype=torch.bool)
        slot_K = torch.arange(slots, device=drawn_BK.device)
        found = self.sampler.contains(drawn_BK.unsqueeze(2), slot_K, seed=self.seed, step=self.draw_of_negatives)
        for slot in range(slots):
            found[:, :, slot] |= torch.isin(drawn_BK, drawn_BK[:, slot])
        return found


def _unit(embeddings_bD: Tensor) -> Tensor:
    """Rows divided by their length; a row of zeros stays zero. First by their largest number: no square overflows."""
    largest_b1 = torch.linalg.vector_norm(embeddings_bD.detach(), ord=float("inf"), dim=1, keepdim=True)
    return nn.functional.normalize(embeddings_bD / torch.where(largest_b1 > 0, largest_b1, 1.0), dim=1)


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
