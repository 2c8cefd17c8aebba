"""InfoNCE with a matrix of positives: repeated concepts in a batch are no longer called negatives."""

from __future__ import annotations

import torch

from pairwright.core.encoded import Encoded, Views
from pairwright.core.numerics import generator
from pairwright.core.rows import row_loss
from pairwright.data.world.pairs import Maps, SimPairs, simulate_pairs
from pairwright.ledger.check import Check
from pairwright.losses.contrast.info_nce import InfoNCE
from pairwright.metrics.recall_at_k import recall_at_k

CHECK = Check(
    id="clip_multi_positive",
    card="losses/contrast/info_nce",
    claim="When concepts repeat within batches, marking all their pairs as positives learns better than marking the diagonal.",
    plant="2,000 pairs show about 40 concepts (98% repeat an earlier one), batches of 256",
    baseline="the same loss with the diagonal as positives (what CLIP's code does), same steps and draws",
    control="every pair shows its own concept: the two losses are one",
    margin=0.03,
    control_margin=0.002,
    metric="recall@1 among 1,000 new concepts, mean of both directions",
)
STEPS, BATCH, NOISE = 150, 256, 0.6


def fixtures() -> None:
    """The first optimiser imports a large part of torch: not the check's time."""
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])


def arms(seed: int, planted: bool) -> dict[str, float]:
    pairs = simulate_pairs(seed, 2000, duplicates=0.98 if planted else 0.0, noise=NOISE)
    new = simulate_pairs(seed, 1000, split="test", noise=NOISE)
    return {"ours": _score(_train(pairs, seed, pairs.group_N), new), "baseline": _score(_train(pairs, seed, None), new)}


def _train(pairs: SimPairs, seed: int, group_N: torch.Tensor | None) -> Maps:
    maps = Maps(pairs, seed=seed)
    optimiser = torch.optim.Adam(maps.parameters(), lr=1e-2)
    draw = generator("batches", seed)
    for _ in range(STEPS):
        i = torch.randperm(len(pairs), generator=draw)[:BATCH]
        image, text = maps(pairs.image_ND[i], pairs.text_ND[i])
        views = Views({"image": Encoded(image), "text": Encoded(text)}, group_B=None if group_N is None else group_N[i])
        optimiser.zero_grad()
        row_loss(InfoNCE(), views, lambda q, k: maps.logit_scale.exp() * q.z_BD @ k.z_BD.T).backward()
        optimiser.step()
    return maps


@torch.no_grad()
def _score(maps: Maps, new: SimPairs) -> float:
    image, text = maps(new.image_ND, new.text_ND)
    scores, own = image @ text.T, torch.arange(len(new)).numpy()
    return (recall_at_k(scores, own) + recall_at_k(scores.T, own)) / 2
