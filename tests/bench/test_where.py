"""Shares of time by kind of operation."""

from __future__ import annotations

import torch

from bench.where import sentence, shares


def test_shares_sum_to_one_and_the_largest_product_leads() -> None:
    x = torch.randn(600, 600)
    found = shares(lambda: torch.nn.functional.layer_norm(x @ x @ x @ x, (600,)))
    assert abs(sum(found.values()) - 1) < 1e-9
    assert next(iter(found)) == "products and convolutions"
    assert "products and convolutions" in sentence(lambda: x @ x)
