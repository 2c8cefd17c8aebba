"""Feature distillation: a student with few, noisy pairs learns the teacher's space, which the pairs alone cannot teach it."""

from __future__ import annotations

import torch

from pairwright.core.encoded import Encoded, Views
from pairwright.core.numerics import generator, unit
from pairwright.core.rows import row_loss
from pairwright.data.world.pairs import Maps, SimPairs, simulate_pairs
from pairwright.ledger.check import Check
from pairwright.losses.contrast.info_nce import InfoNCE
from pairwright.losses.distill.feature_match import FeatureMatch
from pairwright.metrics.recall_at_k import recall_at_k

CHECK = Check(
    id="feature_match",
    card="losses/distill/feature_match",
    claim="With few noisy pairs, matching a good teacher's features teaches a student more than the pairs do",
    plant="a teacher that knows the true latent concepts; the student sees 300 pairs, 40% of them mismatched",
    baseline="InfoNCE on the same pairs, as many steps",
    control="the teacher's features are random vectors, one for each row: nothing is in them to learn",
    margin=0.10,
    control_margin=0.02,
    metric="recall@1 among 500 new clean pairs",
)


def teacher_rows(pairs: SimPairs, group_N: torch.Tensor, seed: int, good: bool) -> torch.Tensor:
    """The teacher's embeddings of what is in each row: a turned copy of the concept's latent vector, or noise."""
    width = pairs.concept_GU.shape[1]
    if not good:
        return unit(torch.randn(len(group_N), width, generator=generator("noise", seed, len(group_N), int(group_N.sum()))))
    turn = torch.linalg.qr(torch.randn(width, width, generator=generator("turn", seed)))[0]
    return unit(pairs.concept_GU[group_N].float() @ turn)


def train(pairs: SimPairs, seed: int, teachers: dict[str, torch.Tensor] | None) -> Maps:
    model = Maps(pairs, width=16, seed=seed)
    matches = torch.nn.ModuleDict({v: FeatureMatch(16, t.shape[1], v) for v, t in (teachers or {}).items()})
    optimizer = torch.optim.Adam([*model.parameters(), *matches.parameters()], lr=5e-3)
    for step in range(200):
        rows = torch.randperm(len(pairs), generator=generator("rows", seed, step))[:128]
        image, text = model(pairs.image_ND[rows], pairs.text_ND[rows])
        views = Views({"image": Encoded(image), "text": Encoded(text)})
        if teachers is None:
            loss = row_loss(InfoNCE(), views, lambda q, k: model.logit_scale.exp() * q.z_BD @ k.z_BD.T)
        else:
            views = views.replace(**{f"teacher.{v}": Encoded(t[rows]) for v, t in teachers.items()})
            loss = sum(match(views) for match in matches.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if teachers is not None:
        model.eval()
        model.project = matches
    return model


def arms(seed: int, planted: bool) -> dict[str, float]:
    torch.manual_seed(seed)
    pairs = simulate_pairs(seed, 300, shuffled=0.4)
    test = simulate_pairs(seed, 500, split="test")
    teachers = {
        "image": teacher_rows(pairs, pairs.group_N, seed, planted),
        "text": teacher_rows(pairs, pairs.text_group_N, seed, planted),
    }
    values = {}
    for name, given in (("ours", teachers), ("baseline", None)):
        model = train(pairs, seed, given)
        with torch.no_grad():
            image, text = model(test.image_ND, test.text_ND)
            if given is not None:
                image, text = (unit(model.project[v].project(z)) for v, z in (("image", image), ("text", text)))
        values[name] = float(recall_at_k(image @ text.T, torch.arange(500), 1))
    return values
