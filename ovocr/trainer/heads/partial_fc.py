"""Multi-label Partial FC: class centers and a loss over a sample of them, computed in one pass over the sample.

Each image b has T stored tags; a step draws K of its slots, or uses all tags. With the objective "slots", slot k is a
softmax over a sample S_k of classes: every positive of slot k in the global batch, and random negatives, one from each
block of 1 / sample_rate classes. The samples overlap and cos_bc is the same in all of them, so one product with their
union and a matrix of weights gives all K sums. The other objectives have one sum over the negatives of an image.

A class may also be ignored for an image, for example a word that is in the image but too small to be read there: it is
no negative of the image. It is left out of the image's sums, and its center gets no gradient from the image.

Source: Partial FC (arXiv 2203.15565) and its multi-label form in UNICOM (arXiv 2304.05884). Excluding an image's own
    tags and ignored classes from its negatives and the single pass are additions of this project.

Shape suffixes: b local images, B images of the global batch, C classes, R rows of this rank, D embedding size, T stored
tags, M ignored classes, K drawn slots, P positives of an image.
"""

import weakref
from functools import partial
from hashlib import blake2b
from typing import Any, Literal, TypeAlias, get_args

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ovocr.trainer.heads.center_sampler import CenterSampler, NegativeWeight
from ovocr.trainer.heads.embedding_norm import EmbeddingNorm
from ovocr.trainer.heads.loss import LossInputs, LossReport, MultiLabelLoss, SoftmaxFactory, precise_dtype
from ovocr.trainer.heads.margin import Margin
from ovocr.trainer.heads.objectives import Objective, ObjectiveName, Slots, Soft, TwoSided
from ovocr.trainer.heads.positives import LabelsPerSample, distinct_classes, draw_labels, target_distribution
from ovocr.trainer.heads.sample_counts import SampleCounts
from ovocr.trainer.heads.sampled_centers import SampledCenters
from ovocr.trainer.heads.sampling import NegativeSampler
from ovocr.trainer.heads.torch_softmax import TorchSoftmax
from ovocr.trainer.kernels.availability import Implementation, choose_implementation
from ovocr.trainer.kernels.workspace import ReusableMemory
from ovocr.trainer.optim.row_gradients import densify_before_adding, merge_repeated_rows
from ovocr.trainer.ranks.distributed import Ranks, row_range

Sampling: TypeAlias = Literal["independent", "shared"]

# Initial centers are drawn in blocks of rows, each with its own seed, so any rank can draw its rows alone.
_INIT_BLOCK = 4096
_INIT_STD = 0.01


class PartialFC(nn.Module):
    """Holds this rank's class centers and computes the loss over all ranks' centers.

    embedding_dim: D.
    num_classes: C.
    labels_per_sample: K, the slots drawn from the stored tags in each step; "all" makes every distinct stored tag a
        positive, for objectives without slots.
    sample_rate: share of the classes drawn as negatives of a slot; 1.0 is the exact softmax over all classes.
    sampling: "independent" draws negatives for each slot, "shared" draws them once for all slots. Objectives without
        slots draw them once in both cases.
    mask_own_tags: if True, no stored tag of an image is a negative of it; if False, only a slot's own positive is
        excluded. Ignored classes are excluded in both cases.
    objective: how positives and sums over negatives become the loss, see ``objectives``. "slots": a softmax for each
        drawn slot. "soft": one softmax with a target distribution over the positives. "two_sided": a loss of the
        positives and a loss of the negatives. Positives of the last two are distinct: a repeated tag counts once.
    negative_weight: "none" adds all sampled negatives alike. "importance" weights a negative that was drawn, and is a
        positive of no image, by 1 / the probability of drawing it, so that the sums over negatives are unbiased
        estimates of the sums over all classes.
    tag_weights: float [C], positive: relative targets of an image's positives, for the objective "soft". None: equal.
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

    ``sample_counts`` counts how often each class was in a sample as a positive; None if sums are not biased.

    Raises ValueError for arguments out of range.
    """

    tag_weights: Tensor | None

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        labels_per_sample: LabelsPerSample = 8,
        sample_rate: float = 0.1,
        sampling: Sampling = "independent",
        mask_own_tags: bool = True,
        margin: Margin = Margin(),
        objective: ObjectiveName = "slots",
        negative_weight: NegativeWeight = "none",
        tag_weights: Tensor | None = None,
        implementation: Implementation = "auto",
        process_group: dist.ProcessGroup | None = None,
        seed: int = 0,
        passes_per_step: int = 1,
        embedding_norm: Literal["none", "batch"] = "none",
    ) -> None:
        super().__init__()
        if min(embedding_dim, num_classes, passes_per_step) < 1:
            raise ValueError("embedding_dim, num_classes and passes_per_step must be at least 1")
        if not 0.0 < sample_rate <= 1.0:
            raise ValueError(f"sample_rate must be more than 0 and at most 1, not {sample_rate}")
        for name, value, allowed in (
            ("sampling", sampling, get_args(Sampling)),
            ("objective", objective, get_args(ObjectiveName)),
            ("negative_weight", negative_weight, get_args(NegativeWeight)),
            ("embedding_norm", embedding_norm, ("none", "batch")),
            ("implementation", implementation, get_args(Implementation)),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be {_one_of(allowed)}, not {value!r}")
        if labels_per_sample == "all":
            if objective == "slots":
                raise ValueError("labels_per_sample='all' needs objective 'soft' or 'two_sided': slots are drawn")
        elif type(labels_per_sample) is not int or labels_per_sample < 1:
            raise ValueError(f"labels_per_sample must be at least 1, or 'all', not {labels_per_sample!r}")
        if not isinstance(margin, Margin):
            raise ValueError(f"margin must be a Margin, not {margin!r}")
        if tag_weights is not None and objective != "soft":
            raise ValueError(f"tag_weights needs objective 'soft', not {objective!r}")
        self.embedding_dim, self.num_classes, self.labels_per_sample = embedding_dim, num_classes, labels_per_sample
        self.sample_rate, self.sampling, self.mask_own_tags = sample_rate, sampling, mask_own_tags
        self.objective, self.negative_weight = objective, negative_weight
        self.margin, self.implementation, self.seed = margin, implementation, seed
        self.passes_per_step = passes_per_step
        self.ranks = Ranks.of(process_group)
        self.first_class, self.last_class = row_range(num_classes, self.ranks.rank, self.ranks.world)
        self.step = 0
        self.last_report: LossReport | None = None
        self.weight = nn.Parameter(initial_centers(self.first_class, self.last_class, embedding_dim, seed))
        self.embedding_norm = EmbeddingNorm(embedding_dim) if embedding_norm == "batch" else None
        tag_weights = None if tag_weights is None else _checked_tag_weights(tag_weights, num_classes)
        self.register_buffer("tag_weights", tag_weights, persistent=False)
        self.sample_counts = SampleCounts(self.last_class - self.first_class) if self.is_biased else None
        self._hooked_weight_id = 0
        self._gradient_memory = ReusableMemory()

    def forward(self, embeddings: Tensor, labels: Tensor, ignored: Tensor | None = None) -> Tensor:
        """Returns the loss: a scalar, the mean over the global batch, equal on every rank.

        embeddings: [b, D], any length (they are normalised here) and any floating dtype.
        labels: int64 [b, T], T >= K, on any device; preferably on the CPU, where their range is checked.
        ignored: int64 [b, M], class ids that are not negatives of their image, on any device as the labels; -1 is none.
            A positive that is ignored stays a positive. None: no class is ignored.

        Every rank calls this the same number of times; b and M may differ between ranks and may be 0, and a rank may
        pass None while another does not. Gradients are computed for the global mean, so the wrapper of the backbone
        must sum them over ranks. In training mode each call advances the step of the draws and the counts.

        Raises ValueError for wrong types and shapes and, for labels and ignored classes on the CPU, for ids out of
        range.
        """
        self._check(embeddings, labels, ignored)
        dtype = torch.promote_types(embeddings.dtype, torch.float32)
        # The caller's autocast would round the products of the forward pass but not of the backward pass.
        with torch.autocast(embeddings.device.type, enabled=False):
            precise = precise_dtype(embeddings.device)
            embeddings_bD = _unit(self.embed(embeddings.to(dtype)).to(precise)).to(dtype)
            labels_BT, ignored_BM, sizes = self._gather_classes(labels, ignored, embeddings.device)
            positives_BP = self.draw_positives(labels_BT)
            inputs = self._loss_inputs(labels_BT, positives_BP, ignored_BM, sizes, embeddings.dtype)
            self._register_merge_hooks()
            loss, self.last_report = MultiLabelLoss.apply(embeddings_bD, self.weight, inputs)
        if self.training:
            self.step += 1
            if self.sample_counts is not None:
                self.sample_counts.add(self.center_sampler.positive_counts(positives_BP), self.center_sampler.samples)
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
            f"mask_own_tags={self.mask_own_tags}, objective={self.objective}, "
            f"negative_weight={self.negative_weight}, {self.margin}"
        )

    def draw_positives(self, labels_BT: Tensor) -> Tensor:
        """Returns the positives of each image of the global batch in this step, class ids, int64 [B, P].

        With slots, P is K and column k has the tag of slot k. Other objectives have distinct positives; -1 fills rows.
        """
        if self.labels_per_sample == "all":
            return distinct_classes(labels_BT)
        drawn_BK = draw_labels(labels_BT, self.labels_per_sample, seed=self.seed, step=self.step)
        return drawn_BK if self.objective == "slots" else distinct_classes(drawn_BK)

    @property
    def is_biased(self) -> bool:
        """Whether positives of the batch are more often in the sums over negatives than other classes."""
        return self.sample_rate < 1.0 and self.negative_weight == "none"

    def ranking_correction(self) -> Tensor | None:
        """Returns what to add to scale * cosine of each local center to rank classes without bias, float64 [rows].

        None if the sums are not biased. With pi the share of the sums over negatives that a class was in, it is ln(pi):
        a softmax over a sample learns, up to a constant, ln P(class | image) - ln(pi). For "two_sided" it is an upper
        bound: where the positives' loss is linear in their logit, as for words that are hard to tell, the bias is
        -ln(pi) too; where it is exponential, half of it.
        """
        if self.sample_counts is None:
            return None
        return self.center_sampler.log_inclusion(self.sample_counts.positive_share())

    @property
    def center_sampler(self) -> CenterSampler:
        """Draws the sampled centers of this rank."""
        has_samples = self.objective == "slots" and self.sampling == "independent"
        return CenterSampler(
            first_class=self.first_class,
            last_class=self.last_class,
            negatives=NegativeSampler(self.num_classes, self.sample_rate),
            samples=self.labels_per_sample if has_samples and isinstance(self.labels_per_sample, int) else 1,
            sample_rate=self.sample_rate,
            negative_weight=self.negative_weight,
            seed=self.seed,
        )

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
        self, labels_BT: Tensor, positives_BP: Tensor, ignored_BM: Tensor, sizes: list[int], dtype: torch.dtype
    ) -> LossInputs:
        sampler, is_positive_BP = self.center_sampler, positives_BP >= 0
        skipped_BX = torch.cat([labels_BT if self.mask_own_tags else positives_BP, ignored_BM], dim=1)
        has_pairs = self.objective == "slots" and not self.mask_own_tags
        return LossInputs(
            ranks=self.ranks,
            sizes=sizes,
            sample=self.draw_sample(positives_BP),
            margin=self.margin,
            softmax=self._softmax_factory(dtype),
            row_buffer=self._row_buffer,
            objective=self._objective_of(positives_BP),
            positives_BP=sampler.local_rows(positives_BP),
            is_positive_BP=is_positive_BP,
            skipped_BX=sampler.local_rows(skipped_BX),
            pair_weights_BPP=self._pair_weights(positives_BP, ignored_BM) if has_pairs else None,
        )

    def _objective_of(self, positives_BP: Tensor) -> Objective:
        if self.objective == "slots":
            return Slots()
        if self.objective == "two_sided":
            return TwoSided(positives_BP >= 0)
        target_BP = target_distribution(positives_BP, self.tag_weights, precise_dtype(positives_BP.device))
        return Soft(target_BP, positives_BP >= 0)

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
        if self.labels_per_sample == "all":
            if labels.shape[1] < 1:
                raise ValueError("labels must have at least 1 stored tag per image")
        elif labels.shape[1] < self.labels_per_sample:
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

    def draw_sample(self, positives_BP: Tensor) -> SampledCenters:
        """Returns this rank's centers for the step: the positives that it owns and its share of the negatives."""
        return self.center_sampler.draw(positives_BP, self.negatives_step)

    def _pair_weights(self, drawn_BK: Tensor, ignored_BM: Tensor) -> Tensor:
        """Returns the weight of drawn tag j of image b as a negative of its slot k, [B, K (tag j), K (slot k)].

        It is 0 if the tag is not in slot k's sample, is slot k's own positive, or is ignored for the image. A tag that
        is drawn twice counts once, at its first slot.
        """
        same_BKK = drawn_BK.unsqueeze(2) == drawn_BK.unsqueeze(1)
        repeated_BK = torch.tril(same_BKK, diagonal=-1).any(2)
        ignored_BK = (drawn_BK.unsqueeze(2) == ignored_BM.unsqueeze(1)).any(2)
        excluded_BKK = same_BKK | (repeated_BK | ignored_BK).unsqueeze(2)
        return self.center_sampler.pair_weights(drawn_BK, self.negatives_step).masked_fill(excluded_BKK, 0.0)


def _one_of(allowed: tuple[str, ...]) -> str:
    return " or ".join([", ".join(repr(value) for value in allowed[:-1]), repr(allowed[-1])])


def _checked_tag_weights(tag_weights: Tensor, num_classes: int) -> Tensor:
    """Returns the weights divided by the largest, float32. Raises ValueError if they are not positive numbers [C]."""
    if not isinstance(tag_weights, Tensor) or tag_weights.shape != (num_classes,):
        found = list(tag_weights.shape) if isinstance(tag_weights, Tensor) else f"a {type(tag_weights).__name__}"
        raise ValueError(f"tag_weights must be a tensor [{num_classes}], one weight per class, not {found}")
    weights_C = tag_weights.detach().cpu().double()
    if not (torch.isfinite(weights_C).all() and (weights_C > 0).all()):
        raise ValueError("tag_weights must be finite numbers greater than 0")
    weights_C = (weights_C / weights_C.max()).float()
    if not (weights_C > 0).all():
        raise ValueError("tag_weights must not differ by more than a factor of 1e38")
    return weights_C


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
