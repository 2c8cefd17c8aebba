"""InfoNCE against cross-entropy, open_clip's ClipLoss, and the SupCon sum written out."""

from __future__ import annotations

import math

import open_clip
import pytest
import torch
import torch.nn.functional as F

from pairwright.core.encoded import Encoded, Pairs, Views
from pairwright.core.numerics import unit
from pairwright.core.rows import row_loss
from pairwright.losses.contrast.info_nce import InfoNCE


def batch(seed: int, B: int = 16, D: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return tuple(unit(torch.randn(B, D, generator=g)).requires_grad_() for _ in range(2))


@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
def test_diagonal_positives_give_the_clip_loss_of_open_clip(scale):
    image, text = batch(0)
    s = torch.tensor(scale, requires_grad=True)
    ours = row_loss(InfoNCE(), Views({"image": Encoded(image), "text": Encoded(text)}), lambda q, k: s * q.z_BD @ k.z_BD.T)
    theirs = open_clip.ClipLoss()(image, text, s)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    for a, b in zip(torch.autograd.grad(ours, (image, text, s)), torch.autograd.grad(theirs, (image, text, s))):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_several_positives_are_the_outer_sum_of_supcon():
    """SupCon eq. 2: the mean over positives of -log softmax, by loops."""
    logits = 3 * torch.randn(5, 7, generator=torch.Generator().manual_seed(1))
    positives = torch.rand(5, 7, generator=torch.Generator().manual_seed(2)) < 0.4
    positives[3] = False
    e = Encoded(torch.zeros(7, 1))
    ours = InfoNCE().rows(Pairs(e.rows(slice(5)), e, logits, positives))
    for i in range(5):
        z = math.log(sum(math.exp(v) for v in logits[i].tolist()))
        own = [z - float(logits[i, j]) for j in range(7) if positives[i, j]]
        assert float(ours[i]) == pytest.approx(sum(own) / len(own) if own else 0.0, rel=1e-5)


def test_columns_that_are_not_allowed_leave_the_softmax():
    logits = torch.randn(3, 6, generator=torch.Generator().manual_seed(3))
    allowed = torch.tensor([True, True, True, False, True, False]).expand(3, 6)
    e = Encoded(torch.zeros(6, 1))
    ours = InfoNCE().rows(Pairs(e.rows(slice(3)), e, logits, torch.eye(6, dtype=torch.bool)[:3], allowed))
    torch.testing.assert_close(ours, F.cross_entropy(logits[:, [0, 1, 2, 4]], torch.arange(3), reduction="none"))


def test_weights_scale_negatives_as_repetition_does():
    """A column of weight 3 in the normaliser equals the column three times."""
    logits = torch.randn(2, 4, generator=torch.Generator().manual_seed(4))
    e = Encoded(torch.zeros(4, 1))
    weight = torch.tensor([1.0, 1.0, 3.0, 1.0]).expand(2, 4)
    ours = InfoNCE().rows(Pairs(e.rows(slice(2)), e, logits, torch.eye(4, dtype=torch.bool)[:2], None, weight))
    torch.testing.assert_close(ours, F.cross_entropy(logits[:, [0, 1, 2, 2, 2, 3]], torch.arange(2), reduction="none"))


def test_one_pair_costs_nothing_and_equal_embeddings_cost_log_b():
    one, same = Encoded(torch.ones(1, 1)), Encoded(torch.ones(8, 1))
    dot = lambda q, k: q.z_BD @ k.z_BD.T
    assert float(row_loss(InfoNCE(), Views({"image": one, "text": one}), dot)) == 0
    assert float(row_loss(InfoNCE(), Views({"image": same, "text": same}), dot)) == pytest.approx(math.log(8), rel=1e-6)
