"""Model FLOPs of a training step: what the mathematics of the model needs, computed from the configuration.

A product of matrices [M, K] and [K, N] has 2 M K N operations, and its backward pass has two products of the same size:
one for the gradient of each factor. Only matrix products count, and each only once: not recomputed activations and
cosines, not norms, activation functions, softmaxes, rotary positions, losses and optimizers.

With L tokens (frames x patches of a frame), D channels, I channels inside an MLP, N layers and patches of p x p pixels,
the forward pass of an image or clip has

    patch embedding      2 L (3 p^2) D
    a layer              8 L D^2  (query, key, value, output)  +  4 L^2 D  (attention)  +  4 L D I  (MLP)
    attention pooling    4 L D^2  (key, value)  +  4 D^2  (query, output)  +  4 L D  (attention)  +  4 D I  (MLP)

A backward pass has twice as many, except in the patch embedding: as many, because pixels need no gradient. A
backbone that is not trained has no backward pass.

A head multiplies the embeddings of the global batch of a pass, B, with S sampled centers of a rank: 2 S B D for the
cosines, as many for the gradient of the centers, and, if the backbone is trained, for the gradient of the embeddings.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ovocr.trainer.config.heads import HeadConfig, VideoHeadConfig
from ovocr.trainer.config.sections import BackboneConfig, RunConfig


def backbone_flops(config: BackboneConfig, *, frames: int, image_size: int, trained: bool = True) -> int:
    """Returns the FLOPs of the backbone for one image or clip, forward and, if it is trained, backward.

    frames: 1 for images. image_size: side of the input, pixels.
    """
    tokens = frames * (image_size // config.patch_size) ** 2
    width, inner = config.hidden_size, config.intermediate_size
    embedding = 2 * tokens * 3 * config.patch_size**2 * width
    layer = 8 * tokens * width**2 + 4 * tokens**2 * width + 4 * tokens * width * inner
    pooling = 4 * tokens * width**2 + 4 * width**2 + 4 * tokens * width + 4 * width * inner
    rest = config.num_hidden_layers * layer + pooling
    return 2 * embedding + 3 * rest if trained else embedding + rest


def head_flops(embedding_dim: int, *, images: int, centers: int, trains_embeddings: bool = True) -> int:
    """Returns the FLOPs of a Partial FC head in a pass on one rank, forward and backward.

    images: size of the global batch. centers: number of the rank's sampled centers.
    """
    return (3 if trains_embeddings else 2) * 2 * centers * images * embedding_dim


@dataclass(frozen=True)
class PassSize:
    """The sizes of a head's pass on one rank.

    own_images: images of this rank. all_images: images of all ranks. centers: sampled centers of this rank.
    """

    own_images: int
    all_images: int
    centers: int


@dataclass(frozen=True)
class StepFlops:
    """Model FLOPs of a step on one rank. heads: by name of the head."""

    backbone: int
    heads: Mapping[str, int]

    @classmethod
    def count(cls, config: RunConfig, passes: Mapping[str, Iterable[PassSize]]) -> "StepFlops":
        """Counts them. passes: the passes of each head."""
        trained, backbone, heads = not config.run.freeze_backbone, 0, {}
        for name, sizes in passes.items():
            frames, image_size = input_size(config, config.heads[name])
            of_image = backbone_flops(config.backbone, frames=frames, image_size=image_size, trained=trained)
            heads[name] = 0
            for size in sizes:
                backbone += size.own_images * of_image
                heads[name] += head_flops(
                    config.backbone.hidden_size,
                    images=size.all_images,
                    centers=size.centers,
                    trains_embeddings=trained,
                )
        return cls(backbone, heads)

    @property
    def total(self) -> int:
        """FLOPs of backbone and heads."""
        return self.backbone + sum(self.heads.values())


def input_size(config: RunConfig, head: HeadConfig) -> tuple[int, int]:
    """Returns the number of frames and the side of the input of a head, pixels."""
    frames = head.frames if isinstance(head, VideoHeadConfig) else 1
    return frames, head.image_size or config.backbone.image_size
