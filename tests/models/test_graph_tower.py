"""The graph tower against message passing node by node; padding and node order do not count."""

from __future__ import annotations

import pytest
import torch

from pairwright.core.numerics import generator
from pairwright.models.towers.graph import Graphs, GraphTower


def drawn(seed: int = 0) -> Graphs:
    rng = generator("graphs", seed)
    mask = torch.arange(6) < torch.tensor([6, 4, 1])[:, None]
    link = (torch.rand(3, 6, 6, generator=rng) < 0.5).float().triu(1)
    return Graphs(torch.randn(3, 6, 5, generator=rng), link + link.mT, mask)


def tower() -> GraphTower:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return GraphTower(5, width=8).requires_grad_(False)


def test_embedding_is_that_of_message_passing_node_by_node():
    x, net = drawn(), tower()
    found = net(x, tokens=True)
    for g in range(3):
        real = [n for n in range(6) if x.mask_BN[g, n]]
        h = {n: x.node_BNF[g, n] for n in real}
        for layer in net.layers:
            h = {n: layer(h[n] + sum(h[m] for m in real if x.link_BNN[g, n, m])).clamp_min(0) for n in real}
        mean = torch.stack(list(h.values())).mean(0)
        torch.testing.assert_close(found.z_BD[g] * found.norm_B[g], mean)
        torch.testing.assert_close(found.tokens_BMD[g][x.mask_BN[g]], torch.stack(list(h.values())))


def test_padding_and_the_order_of_nodes_do_not_count():
    x, net = drawn(), tower()
    junk = Graphs(torch.where(x.mask_BN[..., None], x.node_BNF, 7.0), x.link_BNN, x.mask_BN)
    torch.testing.assert_close(net(junk).z_BD, net(x).z_BD)
    p = torch.tensor([3, 1, 5, 0, 2, 4])
    turned = Graphs(x.node_BNF[:, p], x.link_BNN[:, p][:, :, p], x.mask_BN[:, p])
    torch.testing.assert_close(net(turned).z_BD, net(x).z_BD)
    torch.testing.assert_close(net(x.rows([2, 0])).z_BD, net(x).z_BD[[2, 0]])


def test_bad_graphs_are_refused_with_the_fix():
    x = drawn()
    with pytest.raises(ValueError, match="wanted"):
        Graphs(x.node_BNF, x.link_BNN[:, 1:], x.mask_BN)
    with pytest.raises(ValueError, match="graph 0 has no node, one-sided links"):
        Graphs(x.node_BNF, x.link_BNN.triu(), x.mask_BN)
    with pytest.raises(ValueError, match="graph 1 has no node"):
        Graphs(x.node_BNF.index_fill(0, torch.tensor([1]), float("nan")), x.link_BNN, x.mask_BN)
