"""Mixing with a bank row by row, its limits, and class means by a loop."""

from __future__ import annotations

import math

import torch

from pairwright.models.fusion.bank_mix import bank_mix, class_bank

G = torch.Generator().manual_seed(0)
Z = torch.nn.functional.normalize(torch.randn(5, 8, generator=G), dim=1)
BANK = torch.randn(3, 8, generator=G)


def test_row_by_row() -> None:
    for amount, sharp in ((1.0, 0.1), (0.5, 20.0)):
        for z, found in zip(Z, bank_mix(Z, BANK, amount, sharp), strict=True):
            weights = [math.exp(sharp * float(z @ f)) for f in BANK]
            mixed = z + amount * sum(w / sum(weights) * f for w, f in zip(weights, BANK, strict=True))
            torch.testing.assert_close(found, mixed / mixed.norm())


def test_nothing_to_mix_with_changes_nothing() -> None:
    torch.testing.assert_close(bank_mix(Z, BANK, amount=0.0), Z)
    torch.testing.assert_close(bank_mix(Z, BANK[:0]), Z)


def test_a_bank_holds_the_mean_of_each_label_that_occurs() -> None:
    label = torch.tensor([4, 1, 4, 4, 1])
    torch.testing.assert_close(class_bank(Z, label), torch.stack([Z[[1, 4]].mean(0), Z[[0, 2, 3]].mean(0)]))
    assert class_bank(Z[:0], label[:0]).shape == (0, 8)
