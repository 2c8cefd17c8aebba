"""The sigmoid loss: wrong pairs hurt less than under a softmax, which must force each row onto exactly its given match."""

from __future__ import annotations

import torch

from pairwright.core.contracts import RowLoss
from pairwright.core.encoded import Encoded, Views
from pairwright.core.numerics import generator
from pairwright.core.rows import row_loss
from pairwright.data.world.pairs import Maps, SimPairs, simulate_pairs
from pairwright.ledger.check import Check
from pairwright.losses.contrast.info_nce import InfoNCE
from pairwright.losses.contrast.sigmoid import Sigmoid
from pairwright.metrics.recall_at_k import recall_at_k

CHECK = Check(
    id="siglip",
    card="losses/contrast/sigmoid",
    claim="Trained on wrongly paired data, the sigmoid loss retrieves better than InfoNCE (the paper's robustness, not its small batches).",
    plant="60% of 4,000 pairs have another pair's text; batches of 128",
    baseline="InfoNCE, the same steps and draws; both arms at the better of two learning rates",
    control="no pair is wrong",
    margin=0.01,
    control_margin=0.005,
    metric="recall@1 among 1,000 new, clean concepts, mean of both directions",
)
STEPS, BATCH, NOISE, RATES = 150, 128, 0.4, (3e-3, 2e-2)


def fixtures() -> None:
    """The first optimiser imports a large part of torch: not the check's time."""
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])


def arms(seed: int, planted: bool) -> dict[str, float]:
    pairs = simulate_pairs(seed, 4000, noise=NOISE, shuffled=0.6 if planted else 0.0)
    new = simulate_pairs(seed, 1000, split="test", noise=NOISE)
    best = lambda loss, bias: max(_score(_train(pairs, seed, loss, bias, rate), new) for rate in RATES)
    return {"ours": best(Sigmoid(), -10.0), "baseline": best(InfoNCE(), None)}


def _train(pairs: SimPairs, seed: int, loss: RowLoss, first_bias: float | None, rate: float) -> Maps:
    """Both losses start at scale 10; the sigmoid's bias starts at -10 and is learned, as in the paper."""
    maps = Maps(pairs, seed=seed)
    bias = torch.tensor(first_bias or 0.0, requires_grad=first_bias is not None)
    optimiser = torch.optim.Adam([*maps.parameters(), *([bias] if bias.requires_grad else [])], lr=rate)
    draw = generator("batches", seed)
    for _ in range(STEPS):
        i = torch.randperm(len(pairs), generator=draw)[:BATCH]
        image, text = maps(pairs.image_ND[i], pairs.text_ND[i])
        views = Views({"image": Encoded(image), "text": Encoded(text)})
        optimiser.zero_grad()
        row_loss(loss, views, lambda q, k: maps.logit_scale.exp() * q.z_BD @ k.z_BD.T + bias).backward()
        optimiser.step()
    return maps


@torch.no_grad()
def _score(maps: Maps, new: SimPairs) -> float:
    image, text = maps(new.image_ND, new.text_ND)
    scores, own = image @ text.T, torch.arange(len(new)).numpy()
    return (recall_at_k(scores, own) + recall_at_k(scores.T, own)) / 2
