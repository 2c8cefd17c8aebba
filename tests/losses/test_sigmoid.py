"""The sigmoid loss against open_clip's SigLipLoss, transformers' formula written out, and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from open_clip.loss import SigLipLoss

from pairwright.core.encoded import Encoded, Pairs, Views
from pairwright.core.numerics import unit
from pairwright.core.rows import row_loss
from pairwright.losses.contrast.sigmoid import Sigmoid


@pytest.mark.parametrize(("scale", "bias"), [(10.0, -10.0), (1.0, 0.0), (100.0, -15.0)])
def test_diagonal_positives_give_the_siglip_loss_of_open_clip(scale, bias):
    g = torch.Generator().manual_seed(0)
    image, text = (unit(torch.randn(16, 10, generator=g)).requires_grad_() for _ in range(2))
    s, t = torch.tensor(scale, requires_grad=True), torch.tensor(bias, requires_grad=True)
    ours = row_loss(Sigmoid(), Views({"image": Encoded(image), "text": Encoded(text)}), lambda q, k: s * q.z_BD @ k.z_BD.T + t)
    theirs = SigLipLoss()(image, text, s, t)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    for a, b in zip(torch.autograd.grad(ours, (image, text, s, t)), torch.autograd.grad(theirs, (image, text, s, t))):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_any_positives_are_binary_cross_entropy():
    logits = 4 * torch.randn(5, 7, generator=torch.Generator().manual_seed(1))
    positives = torch.rand(5, 7, generator=torch.Generator().manual_seed(2)) < 0.4
    positives[3] = False
    e = Encoded(torch.zeros(7, 1))
    ours = Sigmoid().rows(Pairs(e.rows(slice(5)), e, logits, positives))
    expected = F.binary_cross_entropy_with_logits(logits, positives.float(), reduction="none").sum(1)
    expected[3] = 0  # a row without a positive is not counted
    torch.testing.assert_close(ours, expected)


def test_the_best_constant_logit_is_the_prior():
    """With all embeddings equal the loss over the bias is lowest at log-odds 1 : B - 1, the paper's reason for its bias."""
    same = Encoded(torch.ones(8, 1))
    loss = lambda b: float(row_loss(Sigmoid(), Views({"image": same, "text": same}), lambda q, k: 0 * q.z_BD @ k.z_BD.T + b))
    best = -math.log(7)
    p = 1 / 8
    assert loss(best) == pytest.approx(-8 * (p * math.log(p) + (1 - p) * math.log(1 - p)), rel=1e-6)
    assert loss(best) < min(loss(best - 0.1), loss(best + 0.1))
