"""Multi-label Partial FC: K softmax classifiers over sampled class centers, computed in one pass over the centers.

Each image b has T stored tags; a step draws K of its slots. Slot k is a softmax over a sample S_k of classes: every
positive of slot k in the global batch, and random negatives, one from each block of 1 / sample_rate classes. The
samples overlap and cos_bc is the same in all of them, so one product with their union and a membership matrix gives all
K sums.

A class may also be ignored for an image, for example a word that is in the image but too small to be read there: it is
no negative of the image. It is left out of the image's sums, and its center gets no gradient from the image.

Source: Partial FC (arXiv 2203.15565) and its multi-label form in UNICOM (arXiv 2304.05884). Excluding an image's own
    tags and ignored classes from its negatives and the single pass are additions of this project.

Shape suffixes: b local images, B images of the global batch, D embedding size, T stored tags, M ignored classes, K
drawn slots.
"""

import weakref
from functools import partial
from hashlib import blake2b
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ovocr.trainer.heads.embedding_norm import EmbeddingNorm
from ovocr.trainer.heads.loss import LossInputs, LossReport, MultiLabelLoss, SoftmaxFactory
from ovocr.trainer.heads.margin import Margin
from ovocr.trainer.heads.sampled_centers import SampledCenters
from ovocr.trainer.heads.sampling import NegativeSampler, draw_slots
from ovocr.trainer.heads.torch_softmax import TorchSoftmax
from ovocr.trainer.kernels.availability import Implementation, choose_implementation
from ovocr.trainer.kernels.workspace import ReusableMemory
from ovocr.trainer.optim.row_gradients import densify_before_adding, merge_repeated_rows
from ovocr.trainer.ranks.distributed import Ranks, row_range

# Initial centers are drawn in blocks of rows, each with its own seed, so any rank can draw its rows alone.
_INIT_BLOCK = 4096
_INIT_STD = 0.01


class PartialFC(nn.Module):
    """Holds this rank's class centers and computes the loss over all ranks' centers.

    embedding_dim: D.
    num_classes: C.
    labels_per_sample: K, the slots drawn from the stored tags in each step.
    sample_rate: share of the classes drawn as negatives of a slot; 1.0 is the exact softmax over all classes.
    sampling: "independent" draws negatives for each slot, "shared" draws them once for all slots.
    mask_own_tags: if True, no stored tag of an image is a negative of it; if False, only a slot's own positive is
        excluded. Ignored classes are excluded in both cases.
    implementation: "torch" (any device), "triton" (CUDA; products are in bfloat16 if the embeddings are, or if
        torch.set_float32_matmul_precision is "medium"), or "auto" (Triton for float32 centers on CUDA, else torch).
    process_group: the ranks that share the centers; None selects the default group if it exists, else a single rank.
    seed: seed of the initial centers N(0, 0.01) and of all draws; the same on every rank.
    passes_per_step: forward calls accumulated by one optimizer step. They share the negatives but draw their own slots,
        so together they touch few more rows than a single pass.
    embedding_norm: "batch" first normalises embeddings over the global batch of the call, see ``EmbeddingNorm``. Its
        statistics for evaluation mode are exponential averages over the calls; a training loop may replace them with
        exact ones, as `ovocr train` does, see ``EmbeddingNorm.set_statistics``.

    ``weight`` [rows, D] holds this rank's consecutive rows, row_range(C, rank, world). Its gradient is sparse COO over
    the touched rows, each once and in ascending order; at sample_rate 1.0 it is dense. Gradients of several passes are
    merged row by row. If they touch more than half of the rows, the merged gradient is dense and marked, see
    ``row_gradients.touched_rows``.

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
        implementation: Implementation = "auto",
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
        self.last_report: LossReport | None = None
        self.weight = nn.Parameter(initial_centers(self.first_class, self.last_class, embedding_dim, seed))
        self.embedding_norm = EmbeddingNorm(embedding_dim) if embedding_norm == "batch" else None
        self._hooked_weight_id = 0
        self._gradient_memory = ReusableMemory()

    def forward(self, embeddings: Tensor, labels: Tensor, ignored: Tensor | None = None) -> Tensor:
        """Returns the loss: a scalar, the mean over the global batch, equal on every rank.

        embeddings: [b, D], any length (they are normalised here) and any floating dtype.
        labels: int64 [b, T], T >= K, on any device; preferably on the CPU, where their range is checked.
        ignored: int64 [b, M], class ids that are not negatives of their image, on any device as the labels; -1 is none.
            A drawn tag that is ignored stays a positive of its own slot. None: no class is ignored.

        Every rank calls this the same number of times; b and M may differ between ranks and may be 0, and a rank may
        pass None while another does not. Gradients are computed for the global mean, so the wrapper of the backbone
        must sum them over ranks. In training mode each call advances the step of the draws.

        Raises ValueError for wrong types and shapes and, for labels and ignored classes on the CPU, for ids out of
        range.
        """
        self._check(embeddings, labels, ignored)
        dtype = torch.promote_types(embeddings.dtype, torch.float32)
        # The caller's autocast would round the products of the forward pass but not of the backward pass.
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings_bD = _unit(self.embed(embeddings.to(dtype)))
            labels_BT, ignored_BM, sizes = self._gather_classes(labels, ignored, embeddings.device)
            inputs = self._loss_inputs(labels_BT, ignored_BM, sizes, self._softmax_factory(embeddings.dtype))
            self._register_merge_hooks()
            loss, self.last_report = MultiLabelLoss.apply(embeddings_bD, self.weight, inputs)
        if self.training:
            self.step += 1
        return loss

    def embed(self, embeddings: Tensor) -> Tensor:
        """Returns embeddings [b, D] as they are compared with the class centers: after ``embedding_norm``, if it is
        set."""
        return embeddings if self.embedding_norm is None else self.embedding_norm(embeddings, self.ranks)

    def get_extra_state(self) -> dict[str, Any]:
        """Returns the step of the draws, so a resumed run continues the same sequence of draws."""
        return {"step": self.step}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restores the step of the draws from a state_dict."""
        self.step = int(state["step"])

    def extra_repr(self) -> str:
        """Returns the configuration for print(module)."""
        return (
            f"{self.embedding_dim}, {self.num_classes}, rows {self.first_class}..{self.last_class}, "
            f"labels_per_sample={self.labels_per_sample}, sample_rate={self.sample_rate}, sampling={self.sampling}, "
            f"mask_own_tags={self.mask_own_tags}, {self.margin}"
        )

    def draw_labels(self, labels_BT: Tensor) -> Tensor:
        """Returns the K tags of each image of the global batch that this step trains on, int64 [B, K]."""
        batch, stored = labels_BT.shape
        slots_BK = draw_slots(
            batch, stored, self.labels_per_sample, seed=self.seed, step=self.step, device=labels_BT.device
        )
        return labels_BT.gather(1, slots_BK)

    @property
    def negatives_step(self) -> int:
        """The counter of the current draw of negatives, shared by all passes of a step."""
        return self.step // self.passes_per_step

    def _gather_classes(
        self, labels_bT: Tensor, ignored_bM: Tensor | None, device: torch.device
    ) -> tuple[Tensor, Tensor, list[int]]:
        """Returns labels and ignored classes of the global batch, and the number of images of each rank.

        The ignored classes have the largest M of all ranks; the rows of other ranks are filled with -1.
        """
        labels_bT = labels_bT.to(device, non_blocking=True)
        batch, stored = labels_bT.shape
        width = 0 if ignored_bM is None else ignored_bM.shape[1]
        counts = self.ranks.gather_numbers((batch, width), device)
        sizes, widest = [images for images, _ in counts], max(ignored for _, ignored in counts)
        parts = [labels_bT]  # one tensor for both, so that they are gathered together
        if ignored_bM is not None:
            parts.append(ignored_bM.to(device, non_blocking=True))
        if widest > width:
            parts.append(labels_bT.new_full((batch, widest - width), -1))
        labels_BT, ignored_BM = self.ranks.gather_rows(torch.cat(parts, dim=1), sizes).split([stored, widest], dim=1)
        return labels_BT, ignored_BM, sizes

    def _loss_inputs(
        self, labels_BT: Tensor, ignored_BM: Tensor, sizes: list[int], softmax: SoftmaxFactory
    ) -> LossInputs:
        drawn_BK = self.draw_labels(labels_BT)
        skipped_BX = torch.cat([labels_BT if self.mask_own_tags else drawn_BK, ignored_BM], dim=1)
        return LossInputs(
            ranks=self.ranks,
            sizes=sizes,
            sample=self.draw_sample(drawn_BK),
            margin=self.margin,
            softmax=softmax,
            row_buffer=self._row_buffer,
            drawn_BK=self._local_rows(drawn_BK),
            skipped_BX=self._local_rows(skipped_BX),
            drawn_negatives_BKK=None if self.mask_own_tags else self._drawn_negatives(drawn_BK, ignored_BM),
        )

    def _softmax_factory(self, dtype: torch.dtype) -> SoftmaxFactory:
        """Returns the implementation for embeddings of this dtype and the device of the weight."""
        if choose_implementation(self.implementation, self.weight) == "torch":
            return TorchSoftmax
        from ovocr.trainer.heads.triton_softmax import TritonSoftmax

        bfloat16 = dtype == torch.bfloat16 or torch.get_float32_matmul_precision() == "medium"
        return partial(TritonSoftmax, products=torch.bfloat16 if bfloat16 else torch.float32)

    def _row_buffer(self, rows: int, dtype: torch.dtype) -> Tensor:
        if self.weight.device.type == "cpu":
            return self._gradient_memory.matrix(rows, self.embedding_dim, dtype)
        return torch.empty((rows, self.embedding_dim), dtype=dtype, device=self.weight.device)

    def _register_merge_hooks(self) -> None:
        """Registers hooks that merge the gradients of several passes row by row, once for each weight Parameter."""
        if self._hooked_weight_id == id(self.weight) or not (self.weight.requires_grad and self.weight.is_leaf):
            return
        self._hooked_weight_id = id(self.weight)
        incoming: list[Tensor] = []

        def before(gradient: Tensor) -> None:
            incoming.clear()
            if gradient.is_sparse and gradient.is_coalesced():  # otherwise it already contains several passes
                incoming.append(gradient._indices()[0])
                parameter = weight()
                if parameter is not None:
                    densify_before_adding(parameter, incoming[0])

        def after(parameter: Tensor) -> None:
            if incoming:
                merge_repeated_rows(parameter, incoming.pop())

        weight = weakref.ref(self.weight)  # a hook with a strong reference would keep its parameter alive
        self.weight.register_hook(before)
        self.weight.register_post_accumulate_grad_hook(after)

    def _check(self, embeddings: Tensor, labels: Tensor, ignored: Tensor | None) -> None:
        if not embeddings.is_floating_point():
            raise ValueError(f"embeddings must be floating-point numbers, not {embeddings.dtype}")
        if embeddings.dim() != 2 or embeddings.shape[1] != self.embedding_dim:
            raise ValueError(f"embeddings must be [batch, {self.embedding_dim}], not {list(embeddings.shape)}")
        given = [("labels", "stored tags", labels)]
        if ignored is not None:
            given.append(("ignored", "ignored classes", ignored))
        for name, columns, ids in given:
            if ids.dim() != 2 or ids.shape[0] != embeddings.shape[0] or ids.dtype != torch.int64:
                raise ValueError(
                    f"{name} must be int64 [{embeddings.shape[0]}, {columns}], not {ids.dtype} {list(ids.shape)}"
                )
        if labels.shape[1] < self.labels_per_sample:
            raise ValueError(f"cannot draw {self.labels_per_sample} of {labels.shape[1]} stored tags")
        if (place := self._first_outside(labels, 0)) is not None:
            image, slot = place
            raise ValueError(
                f"label {int(labels[image, slot])} of sample {image}, slot {slot} is not a class: "
                f"0 to {self.num_classes - 1}"
            )
        if ignored is not None and (place := self._first_outside(ignored, -1)) is not None:
            image, column = place
            raise ValueError(
                f"ignored class {int(ignored[image, column])} of sample {image}, column {column} is not a class: "
                f"0 to {self.num_classes - 1}, or -1 for none"
            )

    def _first_outside(self, ids: Tensor, lowest: int) -> list[int] | None:
        """Returns row and column of the first id out of lowest .. C-1; None without one, and for ids not on a CPU."""
        if ids.device.type != "cpu":
            return None
        outside = (ids < lowest) | (ids >= self.num_classes)
        return outside.nonzero()[0].tolist() if outside.any() else None

    def draw_sample(self, drawn_BK: Tensor) -> SampledCenters:
        """Returns this rank's centers for the step: the positives that it owns and its share of the negatives."""
        rows = self.last_class - self.first_class
        if self.sample_rate == 1.0:
            return SampledCenters(rows=None, members=None, size=rows)
        shared = self.sampling == "shared"
        slots_K = torch.arange(1 if shared else self.labels_per_sample, device=drawn_BK.device)
        negatives_KN = self.sampler.draw(
            self.first_class, self.last_class, seed=self.seed, step=self.negatives_step, slots=slots_K
        )
        positives_KN = drawn_BK.flatten().unsqueeze(0) if shared else drawn_BK.T
        # Marking rows avoids a sort and synchronises with the device only once. Classes of other ranks have the row
        # number -1, which marks the extra last row.
        members_CK = torch.zeros((rows + 1, slots_K.shape[0]), dtype=torch.bool, device=drawn_BK.device)
        for classes_KN in (negatives_KN, positives_KN):
            members_CK[self._local_rows(classes_KN), slots_K.unsqueeze(1)] = True
        sampled = members_CK[:-1].any(1).nonzero().squeeze(1)
        return SampledCenters(rows=sampled, members=None if shared else members_CK[sampled], size=sampled.shape[0])

    def _local_rows(self, classes: Tensor) -> Tensor:
        """Returns the row numbers of class ids in this rank's ``weight``; -1 for a class of another rank."""
        mine = (classes >= self.first_class) & (classes < self.last_class)
        return torch.where(mine, classes - self.first_class, -1)

    def _drawn_negatives(self, drawn_BK: Tensor, ignored_BM: Tensor) -> Tensor:
        """Returns whether drawn tag j of image b is a negative of its slot k, bool [B, K (tag j), K (slot k)].

        It is a negative if it is in slot k's sample, is not slot k's own positive, and is not ignored for the image. A
        tag that is drawn twice counts once, at its first slot.
        """
        same_BKK = drawn_BK.unsqueeze(2) == drawn_BK.unsqueeze(1)
        repeated_BK = torch.tril(same_BKK, diagonal=-1).any(2)
        ignored_BK = (drawn_BK.unsqueeze(2) == ignored_BM.unsqueeze(1)).any(2)
        return self._in_sample(drawn_BK) & ~same_BKK & ~(repeated_BK | ignored_BK).unsqueeze(2)

    def _in_sample(self, drawn_BK: Tensor) -> Tensor:
        """Returns whether drawn tag j of image b is in slot k's sample, bool [B, K (tag j), K (slot k)]."""
        batch, slots = drawn_BK.shape
        if self.sample_rate == 1.0 or self.sampling == "shared":
            return drawn_BK.new_ones((batch, slots, slots), dtype=torch.bool)
        slot_K = torch.arange(slots, device=drawn_BK.device)
        found = self.sampler.contains(drawn_BK.unsqueeze(2), slot_K, seed=self.seed, step=self.negatives_step)
        for slot in range(slots):
            found[:, :, slot] |= torch.isin(drawn_BK, drawn_BK[:, slot])
        return found


def _unit(embeddings_bD: Tensor) -> Tensor:
    """Divides rows by their length; a row of zeros stays zero. Scales by the largest number first to avoid overflow."""
    largest_b1 = torch.linalg.vector_norm(embeddings_bD.detach(), ord=float("inf"), dim=1, keepdim=True)
    return nn.functional.normalize(embeddings_bD / torch.where(largest_b1 > 0, largest_b1, 1.0), dim=1)


def initial_centers(first: int, last: int, dim: int, seed: int) -> Tensor:
    """Returns rows [first, last) of the initial class centers N(0, 0.01), float32, for any split over ranks."""
    weight = torch.empty((last - first, dim))
    generator = torch.Generator()
    for block in range(first // _INIT_BLOCK, -(-last // _INIT_BLOCK)):
        start, stop = block * _INIT_BLOCK, (block + 1) * _INIT_BLOCK
        generator.manual_seed(int.from_bytes(blake2b(f"{seed} {block}".encode(), digest_size=8).digest(), "big") >> 1)
        rows = torch.normal(0.0, _INIT_STD, (_INIT_BLOCK, dim), generator=generator)
        low, high = max(start, first), min(stop, last)
        weight[low - first : high - first] = rows[low - start : high - start]
    return weight
