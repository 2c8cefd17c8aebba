"""Small graphs of three shapes and three kinds of nodes, and a graph tower pretrained on them without any label or text.

A class is a shape and a kind, as the scenes of vector_towers are a shape and a colour: its name is a caption's words, nothing else.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import torch
from torch import Tensor

from claims import vector_towers as T
from pairwright.core.numerics import generator, soft_nce, unit
from pairwright.data.world import fixtures
from pairwright.models.towers.graph import Graphs, GraphTower

SHAPES, KINDS, NODES, FEATURES = 3, 3, 10, 12
NAMES = tuple(T.NAMES[8 * shape + kind] for shape in range(SHAPES) for kind in range(KINDS))


def tower(steps: int = 150, batch: int = 96, folder: Path | None = None) -> GraphTower:
    """The tower trained to recognise a graph after noise and lost links; loaded if built before."""
    spec = {"steps": steps, "batch": batch}
    files = [Path(__file__), Path(inspect.getsourcefile(GraphTower))]  # type: ignore[arg-type]
    net = _fresh()
    net.load_state_dict(fixtures.cached("graph-tower", spec, lambda: _train(net, steps, batch), files=files, folder=folder))
    return net.eval().requires_grad_(False)


def drawn(y_N: Tensor, *key: object, noise: float = 0.4) -> Graphs:
    """A graph for each label: rings, stars and cliques of 6 to 10 nodes with a few links too many; a kind is a vector of all nodes."""
    rng, N, B = generator("graphs", *key), NODES, len(y_N)
    size_B = torch.randint(6, N + 1, (B,), generator=rng)
    mask_BN = torch.arange(N) < size_B[:, None]
    i, j = torch.arange(N)[:, None], torch.arange(N)[None]
    ring_BNN = ((i - j).abs() == 1) | ((i - j).abs() == size_B[:, None, None] - 1)
    star_BNN, clique_BNN = ((i == 0) | (j == 0)).expand(B, N, N), torch.ones(B, N, N, dtype=torch.bool)
    shape_B = y_N // KINDS
    link_BNN = torch.stack([ring_BNN, star_BNN, clique_BNN])[shape_B, torch.arange(B)]
    stray_BNN = (torch.rand(B, N, N, generator=rng) < 0.05).triu(1)
    link_BNN = (link_BNN | stray_BNN | stray_BNN.mT) & (i != j) & mask_BN[:, :, None] & mask_BN[:, None]
    kind_KF = unit(torch.randn(KINDS, FEATURES, generator=generator("kinds")))
    node_BNF = kind_KF[y_N % KINDS][:, None] + noise * torch.randn(B, N, FEATURES, generator=rng) / FEATURES**0.5
    return Graphs(node_BNF * mask_BN[..., None], link_BNN.float(), mask_BN)


def _fresh() -> GraphTower:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return GraphTower(FEATURES, width=48)


def _train(net: GraphTower, steps: int, batch: int) -> dict[str, Tensor]:
    optimizer, own = torch.optim.AdamW(net.parameters(), lr=3e-3), torch.eye(batch, dtype=torch.bool)
    for step in range(steps):
        rng = generator("graph views", step)
        x = drawn(torch.randint(len(NAMES), (batch,), generator=rng), "unlabelled", step)
        views = []
        for _ in range(2):
            lost = torch.rand(x.link_BNN.shape, generator=rng).triu(1)
            noise = 0.1 * torch.randn(x.node_BNF.shape, generator=rng) * x.mask_BN[..., None]
            views.append(net(Graphs(x.node_BNF + noise, x.link_BNN * (lost + lost.mT >= 0.1), x.mask_BN)).z_BD)
        loss = soft_nce(5 * views[0] @ views[1].T, own).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.state_dict()
