"""BATCLIP's losses by explicit loops over classes, its limits, and that a reset gives every bit back."""

from __future__ import annotations

import pytest
import torch

from pairwright.core.numerics import generator
from pairwright.models.tiny import tiny
from pairwright.recipes.batclip import BATCLIP

NAMES = ["red circle", "blue square", "green star"]
X = torch.rand(12, 3, 16, 16, generator=generator("batclip"))


def twin():
    return tiny(1, image="vit", size=16, width=32, dim=16, layers=1, patch=8, vocab=256, context=12)


def by_hand(logits, raw, text, pull, spread):
    entropy = sum(-sum(p * p.log() for p in row.softmax(0)) for row in logits) / len(logits)
    labels = [int(row.argmax()) for row in logits]
    means = {c: torch.stack([raw[i] for i in range(len(raw)) if labels[i] == c]).mean(0) for c in sorted(set(labels))}
    pulled = sum(m @ text[c] for c, m in means.items()) / len(means)
    apart = sum(1 - (a @ b) / (a.norm() * b.norm()) for i, a in means.items() for j, b in means.items() if i != j)
    return entropy - pull * pulled - spread * apart


@pytest.mark.parametrize(("pull", "spread"), [(1.0, 1.0), (0.5, 0.0), (0.0, 2.0), (0.0, 0.0)])
def test_the_loss_is_entropy_less_pull_less_spread(pull, spread):
    rng = generator("batclip loss")
    logits, raw, text = (torch.randn(*s, generator=rng, dtype=torch.float64) for s in ((9, 3), (9, 5), (3, 5)))
    loss = BATCLIP(NAMES, pull=pull, spread=spread).loss(logits, raw, text)
    torch.testing.assert_close(loss, torch.as_tensor(by_hand(logits, raw, text, pull, spread)))


def test_a_step_is_one_adamw_step_on_the_norms_of_both_towers():
    model, ours = twin(), BATCLIP(NAMES, lr=1e-2)
    other = twin().requires_grad_(False)
    norms = [p for n, p in other.named_parameters() if ".ln_" in n or "norm" in n]
    for p in norms:
        p.requires_grad_(True)
    ids = other.tokenizer([f"a photo of a {n}" for n in NAMES])
    image, text = other.image(X), other.text(ids).z_BD
    logits = other.scale.detach() * image.z_BD @ text.T
    by_hand(logits, image.z_BD * image.norm_B[:, None], text, 1.0, 1.0).backward()
    torch.optim.AdamW(norms, lr=1e-2, weight_decay=0.01).step()
    torch.testing.assert_close(ours.step(model, X), logits.detach())
    for name, p in other.named_parameters():
        torch.testing.assert_close(model.get_parameter(name), p, rtol=1e-3, atol=1e-5)
    moved = {n.split(".")[1] for n, p in twin().named_parameters() if not torch.equal(p, model.get_parameter(n))}
    assert moved == {"image", "text"}


def test_rate_zero_is_the_frozen_model_and_reset_gives_every_bit_back():
    model, before = twin(), twin()
    still = BATCLIP(NAMES, lr=0.0)
    assert torch.equal(still.step(model, X), still.step(model, X))
    still.reset()
    ours = BATCLIP(NAMES, lr=1e-2)
    first = ours.step(model, X)
    assert not torch.allclose(ours.step(model, X), first)
    with pytest.raises(ValueError, match="another model"):
        ours.step(twin(), X)
    ours.reset()
    assert all(torch.equal(v, before.state_dict()[k]) for k, v in model.state_dict().items())
    assert torch.equal(ours.step(model, X), first)
    ours.reset()


def test_a_batch_of_one_class_has_no_spread():
    logits = torch.tensor([[5.0, 0.0, 0.0]] * 4)
    raw, text = torch.randn(4, 5, generator=generator("one")), torch.eye(3, 5)
    a, b = (BATCLIP(NAMES, pull=0.0, spread=s).loss(logits, raw, text) for s in (0.0, 3.0))
    torch.testing.assert_close(a, b)
