"""Prompt nodes against a loop over nodes, and where they start."""

from __future__ import annotations

import torch

from pairwright.core.numerics import generator
from pairwright.prompts.graph_tokens import start_nodes, with_nodes
from tests.prompts.test_morpher import TRAIN


def test_prompt_nodes_are_linked_as_a_loop_links_them():
    tokens = torch.randn(4, 5, generator=generator("tokens"))
    tokens[3] = tokens[0] + 0.1
    found = with_nodes(TRAIN, tokens, inner=0.6, cross=0.1)
    cos = torch.nn.functional.cosine_similarity
    crossed = 0
    for g in range(len(TRAIN)):
        real = int(TRAIN.mask_BN[g].sum())
        most = min(4, max(1, int(TRAIN.link_BNN[g].sum() / real) // 2))
        for t in range(4):
            for u in range(4):
                assert found.link_BNN[g, t, u] == float(t != u and cos(tokens[t], tokens[u], dim=0) >= 0.6)
        for n in range(6):
            like = [float(cos(tokens[t], TRAIN.node_BNF[g, n], dim=0)) for t in range(4)]
            best = sorted(range(4), key=lambda t: -like[t])[:most]
            for t in range(4):
                wanted = float(n < real and t in best and like[t] >= 0.1)
                assert found.link_BNN[g, t, 4 + n] == found.link_BNN[g, 4 + n, t] == wanted
                crossed += wanted
    assert crossed > 10
    assert found.link_BNN[0, 0, 3] == 1
    assert torch.equal(found.link_BNN[:, 4:, 4:], TRAIN.link_BNN)
    assert torch.equal(found.node_BNF[:, 4:], TRAIN.node_BNF)
    assert with_nodes(TRAIN, tokens[:0]) is TRAIN


def test_nodes_start_within_kaimings_bound_and_the_same_for_a_seed():
    start = start_nodes(500, 6, seed=1)
    assert 0.98 < start.abs().max() <= 1  # sqrt(6 / 6)
    assert abs(float(start.mean())) < 0.05
    assert torch.equal(start, start_nodes(500, 6, seed=1))
    assert not torch.equal(start, start_nodes(500, 6, seed=2))
