"""A run whose class centers are placed so that every answer to every image is known."""

import numpy as np
import torch
from numpy.typing import NDArray

from ovocr.trainer.data.images import normalise
from ovocr.trainer.training.model import Model

WORDS = [f"word{n}" for n in range(10)] + [f"词{n}" for n in range(12)] + [f"слово{n}" for n in range(28)]
IMAGES, TRAINING_IMAGES = 24, 15
CPU = torch.device("cpu")


def planted_cosines(order: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns minus the rank of each class [images, classes], and a little less for each further image: no ties."""
    return -np.argsort(order, axis=1) - np.arange(len(order))[:, None] / 100


@torch.no_grad()
def plant(model: Model, pixels: torch.Tensor, order: NDArray[np.int64]) -> None:
    """Gives the head centers of equal length whose order of cosines to each image's embedding is the given one."""
    pooled = model.backbone.eval()(normalise(pixels))[1].double()
    unit = torch.nn.functional.normalize(pooled, dim=1)
    cosines = torch.from_numpy(planted_cosines(order))  # [images, classes], up to a factor
    centers = (torch.linalg.pinv(unit) @ cosines).T  # center . unit = cosine, up to the length of the center
    # A component orthogonal to all embeddings makes the lengths equal without changing cosines' order.
    orthogonal = torch.linalg.svd(unit, full_matrices=True).Vh[-1]
    lengths = centers.norm(dim=1)
    centers = centers + orthogonal * ((1.01 * lengths.max()) ** 2 - lengths**2).sqrt()[:, None]
    model.heads["ocr"].weight.copy_(centers / lengths.max())


def tags_of(image: int) -> set[int]:
    return {(image + n) % len(WORDS) for n in range(10)}
