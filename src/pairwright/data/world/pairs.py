"""Paired vectors for checks of losses: latent concepts through two fixed mixing maps, planted faults, and two small maps to train.

image_i = mix_image(u_g + noise e, p_i)      text_i = mix_text(u_g' + noise e', q_i)      g' = g except where the pair is shuffled
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pairwright.core.numerics import numpy_rng, unit

Array = np.ndarray


@dataclass(frozen=True)
class SimPairs:
    """n image vectors and n text vectors, row i paired with row i as the *data* claim.

    image_ND, text_ND: raw float32 inputs (not unit rows). group_N: the concept in the image; text_group_N: the concept in the text
    (differs where the pair was shuffled). Rows with equal concepts are true positives of each other. cluster_N: the image concept's
    cluster (a class label). clean_N: False where shuffled. concept_GU: latent vector of every concept.
    """

    image_ND: Tensor
    text_ND: Tensor
    group_N: Tensor
    text_group_N: Tensor
    cluster_N: Tensor
    clean_N: Tensor
    concept_GU: Tensor

    def __len__(self) -> int:
        return len(self.group_N)

    def positives(self, rows: Tensor | slice = slice(None)) -> Tensor:
        """bool (b, b): the image of row i and the text of row j show the same concept: the truth, whatever the pairing claims."""
        return self.group_N[rows][:, None] == self.text_group_N[rows][None, :]


def simulate_pairs(
    seed: int,
    n: int,
    *,
    split: str = "train",
    latent: int = 16,
    width: int = 48,
    noise: float = 0.3,
    duplicates: float = 0.0,
    same_text: bool = False,
    shuffled: float = 0.0,
    clusters: int = 20,
    closeness: float = 0.0,
    long_tail: float = 0.0,
    private: int = 0,
    bend: float = 0.0,
) -> SimPairs:
    """Synthetic image-text pairs as vectors, for training runs of a contrastive loss that take seconds.

    split: another split of the same seed has the same mixing maps and clusters but new concepts and rows; draw a clean one for testing.
    latent: width of a concept vector (unit length). width: width of the two inputs.
    noise: length of each modality's own noise on the concept. duplicates in [0, 1): share of rows that show the concept of an earlier
    row again (false negatives when only the diagonal counts); with same_text their text is that row's text, value for value.
    shuffled in [0, 1]: share of rows whose texts are permuted among themselves (noisy correspondence). A single row cannot be shuffled.
    closeness in [0, 1): squared share of a concept vector that is its cluster's centre (near neighbours: hard negatives).
    long_tail: clusters are drawn with probability ~ rank^-long_tail. private: latent axes that only the one modality sees, for each.
    bend: strength of a fixed tanh in both mixing maps (0: linear, two linear maps suffice).
    """
    if n < 1 or latent < 2 or width < latent + private or clusters < 1:
        raise ValueError(
            f"need n >= 1, latent >= 2, clusters >= 1 and width >= latent + private; got {n=}, {latent=}, {clusters=}, {width=}"
        )
    for name, value, top in (("duplicates", duplicates, 0.999), ("closeness", closeness, 0.999), ("shuffled", shuffled, 1.0)):
        if not 0 <= value <= top:
            raise ValueError(f"{name} must lie between 0 and {top}, got {value}")
    fixed = lambda what: numpy_rng("simulate pairs", seed, what)
    draw = lambda what: numpy_rng("simulate pairs", seed, what, split)
    centre_KU = _unit(fixed("centres").standard_normal((clusters, latent)))
    weight_K = np.arange(1, clusters + 1) ** -float(long_tail)
    group = _groups(draw("duplicates"), n, duplicates)
    cluster_G = np.searchsorted(np.cumsum(weight_K / weight_K.sum())[:-1], draw("cluster").random(n))
    own_GU = _unit(draw("concepts").standard_normal((n, latent)))
    concept_GU = _unit(np.sqrt(closeness) * centre_KU[cluster_G] + np.sqrt(1 - closeness) * own_GU)

    def see(side: str, group: Array) -> Array:
        """Concepts -> input vectors of one modality."""
        u = concept_GU[group] + noise / np.sqrt(latent) * draw(side).standard_normal((n, latent))
        u = np.concatenate([u, draw(f"{side} private").standard_normal((n, private)) / np.sqrt(latent)], 1)
        mix = np.linalg.qr(fixed(f"{side} mix").standard_normal((width, latent + private)))[0]
        x = u @ mix.T
        if bend:
            x = x + bend * np.tanh(2 * np.sqrt(width) * x @ fixed(f"{side} bend").standard_normal((width, width)) / width)
        return x

    image, text = see("image", group), see("text", group)
    if same_text:
        text = text[group]
    moved = _shuffle(draw("shuffled"), n, shuffled)
    to = lambda a, kind: torch.from_numpy(np.ascontiguousarray(a)).to(kind)
    return SimPairs(
        to(image, torch.float32), to(text[moved], torch.float32), to(group, torch.int64), to(group[moved], torch.int64),
        to(cluster_G[group], torch.int64), to(moved == np.arange(n), torch.bool), to(concept_GU, torch.float32),
    )  # fmt: skip


class Maps(nn.Module):
    """Two small trainable encoders for SimPairs: linear (hidden=0) or with one hidden layer; `forward` gives unit rows (n, D) of both.

    logit_scale: trainable log scale, starting at log 10.
    """

    def __init__(self, pairs: SimPairs, width: int = 16, hidden: int = 0, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.image_map, self.text_map = (_map(x.shape[1], width, hidden) for x in (pairs.image_ND, pairs.text_ND))
        self.logit_scale = nn.Parameter(torch.tensor(float(np.log(10))))

    def forward(self, image_ND: Tensor, text_ND: Tensor) -> tuple[Tensor, Tensor]:
        return unit(self.image_map(image_ND)), unit(self.text_map(text_ND))


def _map(n_in: int, n_out: int, hidden: int) -> nn.Module:
    return nn.Sequential(nn.Linear(n_in, hidden), nn.GELU(), nn.Linear(hidden, n_out)) if hidden else nn.Linear(n_in, n_out)


def _unit(x: Array) -> Array:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _groups(rng: np.random.Generator, n: int, rate: float) -> Array:
    """Concept of every row: its own index, or the concept of a random earlier row."""
    again, pick = rng.random(n) < rate, rng.random(n)
    group = np.arange(n)
    for i in range(1, n):
        if again[i]:
            group[i] = group[int(pick[i] * i)]
    return group


def _shuffle(rng: np.random.Generator, n: int, rate: float) -> Array:
    """Row whose text each row gets: a cycle through the chosen rows, so that none of them keeps its own."""
    chosen = rng.permutation(n)[: round(rate * n)]
    source = np.arange(n)
    if len(chosen) > 1:
        source[chosen] = np.roll(chosen, 1)
    return source
