"""The projector against an independent fit; the limits without nodes and joint steps."""

from __future__ import annotations

import pytest
import torch

from pairwright.core.features import EncoderMismatch
from pairwright.core.numerics import generator
from pairwright.models.tiny import tiny
from pairwright.models.towers.graph import Graphs, GraphTower
from pairwright.prompts.morpher import Morpher

NAMES = ["red circle", "blue square", "star"]
HAND = "a graph with property {}"
MODEL = tiny(6, width=16, dim=16, vocab=256, context=12).requires_grad_(False)
with torch.random.fork_rng(devices=[]):
    torch.manual_seed(2)
    TOWER = GraphTower(5, width=8).requires_grad_(False)
Y = torch.arange(3).repeat(4)


def drawn(labels=Y, N: int = 6) -> Graphs:
    rng = generator("graphs")
    B = len(labels)
    mask = torch.arange(N) < torch.randint(3, N + 1, (B,), generator=rng)[:, None]
    link = (torch.rand(B, N, N, generator=rng) < 0.6).float().triu(1) * mask[:, None] * mask[..., None]
    kind = torch.randn(3, 5, generator=rng)
    return Graphs((kind[labels][:, None] + torch.randn(B, N, 5, generator=rng) / 3) * mask[..., None], link + link.mT, mask)


TRAIN = drawn()


def fitted(names=NAMES, y=Y, **more):
    return Morpher(**{"context": HAND, "nodes": 3, "warm": 20, "steps": 5, **more}).fit(MODEL, TOWER, names, TRAIN, y)


def test_without_joint_steps_it_is_a_projector_fitted_to_the_centred_hand_prompts():
    """An independent fit: torch modules, the loss written out, a loop of Adam."""
    found = fitted(steps=0)
    z, hand = TOWER(TRAIN).z_BD, MODEL.text(MODEL.tokenizer([HAND.format(n) for n in NAMES])).z_BD
    text = torch.nn.functional.normalize(hand - hand.mean(0))
    projector = torch.nn.Linear(8, 16)
    with torch.no_grad():
        rng = generator("projector", 0)
        projector.weight.copy_(((2 * torch.rand(8, 16, generator=rng) - 1) / 8**0.5).T)
        projector.bias.zero_()
    optimiser = torch.optim.Adam(projector.parameters(), 1e-2, weight_decay=1e-3)
    for _ in range(20):
        p = (torch.nn.functional.normalize(torch.tanh(projector(z))) @ text.T / 2).exp()
        optimiser.zero_grad()
        (-(p[torch.arange(12), Y] / p.sum(1)).log().mean()).backward()
        optimiser.step()
    torch.testing.assert_close(found.map_, projector.weight.T.detach(), rtol=0, atol=1e-4)
    torch.testing.assert_close(found.text(MODEL, NAMES).W_CD, text)
    want = torch.nn.functional.normalize(torch.tanh(projector(z))).detach()
    torch.testing.assert_close(found.embed(MODEL, TOWER, TRAIN).z, want, rtol=0, atol=1e-4)


def test_joint_steps_lower_the_loss_move_every_part_and_no_encoder():
    before = {k: v.clone() for k, v in [*MODEL.state_dict().items(), *TOWER.state_dict().items()]}
    first, last = fitted(steps=0), fitted(steps=60, lr=0.02)
    assert last.losses_[-1] < first.losses_[-1] - 0.01
    assert (last.context_ - first.context_).abs().max() > 0.01
    assert (last.nodes_ - fitted(steps=1, lr=0.0).nodes_).abs().max() > 0.01
    assert (last.map_ - first.map_).abs().max() > 0.01
    assert all(torch.equal(v, before[k]) for k, v in [*MODEL.state_dict().items(), *TOWER.state_dict().items()])
    assert fitted(nodes=0).embed(MODEL, TOWER, TRAIN).z.shape == (12, 16)


def test_classes_are_equivariant_a_refit_is_fresh_and_new_names_get_text():
    perm = torch.tensor([2, 0, 1])
    old, new = fitted(), fitted([NAMES[i] for i in perm], torch.argsort(perm)[Y])
    torch.testing.assert_close(new.text(MODEL, NAMES).W_CD, old.text(MODEL, NAMES).W_CD, rtol=0, atol=1e-4)
    torch.testing.assert_close(new.embed(MODEL, TOWER, TRAIN).z, old.embed(MODEL, TOWER, TRAIN).z, rtol=0, atol=1e-4)
    kept = old.text(MODEL, NAMES).W_CD
    assert torch.equal(old.fit(MODEL, TOWER, NAMES, TRAIN, Y).text(MODEL, NAMES).W_CD, kept)
    torch.testing.assert_close(old.text(MODEL, ["moon", "star"]).W_CD[1], kept[2])


def test_bad_input_is_refused_with_the_fix():
    with pytest.raises(ValueError, match="not fitted"):
        Morpher().text(MODEL, NAMES)
    with pytest.raises(ValueError, match="label 3"):
        fitted(y=Y + 1)
    with pytest.raises(ValueError, match="12 feature rows but 11 labels"):
        fitted(y=Y[1:])
    with pytest.raises(EncoderMismatch):
        fitted().text(tiny(7, width=16, dim=16, vocab=256, context=12), NAMES)
