"""EmbeddingNorm against torch's BatchNorm."""

import pytest
import torch

from ovocr.trainer.heads.embedding_norm import EmbeddingNorm
from ovocr.trainer.heads.partial_fc import PartialFC
from ovocr.trainer.ranks.distributed import Ranks


def test_values_and_gradients_match_torch():
    generator = torch.Generator().manual_seed(0)
    ours, theirs = EmbeddingNorm(6).double(), torch.nn.BatchNorm1d(6, momentum=0.3).double()
    torch.nn.init.constant_(theirs.bias, 0.25)
    for _ in range(40):
        values = (3 + torch.randn(9, 6, generator=generator, dtype=torch.float64)).requires_grad_()
        same = values.detach().clone().requires_grad_()
        weights = torch.randn(9, 6, generator=generator, dtype=torch.float64)
        found, wanted = ours(values, Ranks()), theirs(same)
        (found * weights).sum().backward()
        (wanted * weights).sum().backward()
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(values.grad, same.grad)
    ours.eval()
    theirs.eval()
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    # torch's running variance is unbiased, n / (n - 1) times the batch's variance, and starts at 1.
    started = 0.7**40
    torch.testing.assert_close(ours.running_variance - started, (theirs.running_var - started) * 8 / 9)
    batch = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    expected = (batch - ours.running_mean) / (ours.running_variance + 1e-5).sqrt() + 0.25
    torch.testing.assert_close(ours(batch, Ranks()), expected)


def test_gradients_match_finite_differences():
    norm = EmbeddingNorm(3).double()
    values = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda embeddings: norm(embeddings, Ranks()), (values,))


def test_head_separates_close_embeddings():
    """If embeddings differ by a hundredth of their length, the loss hardly falls without the norm."""
    classes = torch.arange(32) % 8
    embeddings = 5 + 0.05 * torch.eye(8)[classes]
    labels = classes.unsqueeze(1).expand(32, 8)
    losses = {}
    for kind in ("none", "batch"):
        head = PartialFC(8, 8, sample_rate=1.0, seed=3, embedding_norm=kind)
        optimizer = torch.optim.AdamW(head.parameters(), lr=0.01)
        for _ in range(60):
            loss = head(embeddings, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses[kind] = loss.item()
    assert losses["batch"] < 0.1 * losses["none"], losses


def test_center_can_be_close_to_every_embedding():
    """A class of most images needs such a center: along one direction the mean cosine is well above zero."""
    norm = EmbeddingNorm(64)
    normed = norm(torch.randn(500, 64, generator=torch.Generator().manual_seed(0)), Ranks())
    cosines = torch.nn.functional.normalize(normed, dim=1) @ torch.nn.functional.normalize(normed.mean(0), dim=0)
    assert cosines.mean() > 0.2


def test_unknown_norm_raises():
    with pytest.raises(ValueError, match="embedding_norm must be 'none' or 'batch', not 'layer'"):
        PartialFC(4, 10, embedding_norm="layer")


def test_statistics_that_are_set_replace_the_average_at_evaluation_only():
    norm, averaging = EmbeddingNorm(4), EmbeddingNorm(4)
    batch = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    mean, variance = batch.double().mean(0), batch.double().var(0, correction=0)
    norm.set_statistics(mean, variance)
    norm.eval()
    torch.testing.assert_close(norm(batch, Ranks()), averaging(batch, Ranks()))
    norm.train()
    shifted = batch + 2
    torch.testing.assert_close(norm(shifted, Ranks()), averaging(shifted, Ranks()))
    torch.testing.assert_close(norm.running_mean, (mean + 0.3 * 2).float())
