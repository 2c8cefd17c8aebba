"""Laws of everything in tune/weights: see DESIGN, section 5. Attaching changes nothing, folding keeps, detaching gives every bit back."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from discover import mechanisms

from pairwright.core.contracts import Modifier
from pairwright.core.numerics import generator
from pairwright.losses.contrast.info_nce import InfoNCE
from pairwright.models.tiny import tiny
from pairwright.models.towers.wrapped import Wrapped
from pairwright.train import checkpoint
from pairwright.train.loop import Interrupted, run
from pairwright.train.objective import Sum
from pairwright.train.optim import OptimConfig
from pairwright.train.stage import Batch, Stage

TUNERS = mechanisms("tune/weights")
every_tuner = pytest.mark.parametrize("cls", TUNERS)
IMAGES = torch.rand(6, 3, 16, 16, generator=generator("tune images"))
IDS = torch.randint(3, 60, (6, 8), generator=generator("tune ids")).index_fill(1, torch.tensor([7]), 63)


def twin():
    return tiny(3, image="vit", size=16, width=32, dim=24, layers=2, patch=8, vocab=64, context=8).requires_grad_(True)


@torch.no_grad()
def outputs(model):
    was = model.training
    model.eval()
    made = torch.cat([model.image(IMAGES).z_BD, model.text(IDS).z_BD])
    model.train(was)
    return made


def shake(tuner, size: float = 0.05) -> None:
    """Move every moving parameter."""
    with torch.no_grad():
        for name, p in tuner.moving_.items():
            p.add_(size * torch.randn(p.shape, generator=generator("shake", name)))


def same(a, b) -> bool:
    a, b = a.state_dict(), b.state_dict()
    return list(a) == list(b) and all(torch.equal(a[k], b[k]) for k in a)


class Seeded:
    """Source of seeded pairs; a batch follows from its step."""

    batch_size = 6

    def spec(self):
        return {"kind": "tune"}

    def batches(self, start):
        while True:
            x = torch.rand(6, 3, 16, 16, generator=generator("tune", start))
            yield Batch({"image": x, "text": IDS})
            start += 1


def stage(tuner, steps: int = 6) -> Stage:
    return Stage("tune", Sum({"clip": InfoNCE()}), Seeded(), steps, OptimConfig(lr=1e-2), modifiers=(tuner,))


@every_tuner
def test_is_a_modifier_with_few_settings(cls):
    assert isinstance(cls(), Modifier)
    assert len(dataclasses.fields(cls)) <= 12
    assert repr(cls()) == repr(cls())  # the plan of a run holds it
    assert "0x" not in repr(cls())
    with pytest.raises(ValueError, match="not attached"):
        cls().count  # noqa: B018


@every_tuner
def test_attach_is_the_identity_and_detach_restores_every_bit(cls):
    model, before = twin(), twin()
    model.logit_scale.requires_grad_(False)
    flags = [p.requires_grad for p in model.parameters()]
    tuner = cls()
    tuner.attach(model)
    close = lambda a, b: torch.testing.assert_close(a, b, atol=1e-6, rtol=0)  # a tuner that looks at every token costs the last bit
    close(outputs(model), outputs(before))
    with pytest.raises(ValueError, match="attached already"):
        tuner.attach(model)
    shake(tuner)
    assert not torch.allclose(outputs(model), outputs(before), atol=1e-4)
    tuner.detach(model)
    assert same(model, before)
    assert [p.requires_grad for p in model.parameters()] == flags
    assert all(type(a) is type(b) for a, b in zip(model.modules(), before.modules()))
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())
    tuner.attach(model)  # and again
    close(outputs(model), outputs(before))


@every_tuner
def test_the_reported_count_is_what_moves(cls):
    model, tuner = twin(), cls()
    tuner.attach(model)
    assert tuner.count == sum(p.numel() for p in model.parameters() if p.requires_grad)
    shake(tuner)  # off the start, where some gradients are zero by construction
    model.eval()
    model.logits(model.image(IMAGES), model.text(IDS)).diagonal().sum().backward()
    reached = {n for n, p in model.named_parameters() if p.grad is not None and bool((p.grad != 0).any())}
    assert reached == set(tuner.moving_)


@every_tuner
def test_folded_equals_unfolded(cls):
    model, tuner = twin().train(), cls()
    plain = list(model.state_dict())
    start = model.fingerprint
    tuner.attach(model)
    shake(tuner)
    unfolded = outputs(model)
    tuner.fold(model)
    assert model.fingerprint != start
    torch.testing.assert_close(outputs(model), unfolded, rtol=0, atol=1e-5)
    assert (list(model.state_dict()) == plain) == cls.plain
    assert model.training


@every_tuner
def test_the_state_is_enough(cls):
    model, tuner = twin(), cls()
    tuner.attach(model)
    shake(tuner)
    state = {k: v.clone() for k, v in tuner.state_dict().items()}
    again, other = twin(), cls()
    other.attach(again)
    other.load_state_dict(state)
    assert torch.equal(outputs(again), outputs(model))
    with pytest.raises(ValueError, match="another"):
        other.load_state_dict({**state, "unknown": torch.zeros(1)})


@every_tuner
def test_a_killed_run_resumes_to_the_same_bits(cls, tmp_path, monkeypatch):
    how = {"precise": "fp32", "show": False, "save_every": 2}
    whole = run(twin(), [stage(cls())], tmp_path / "whole", **how)
    before, fixed = twin(), copy.deepcopy(cls())
    fixed.attach(before)
    moving = set(fixed.moving_)
    assert not same(whole, twin())
    frozen = {n for n, p in before.named_parameters() if n not in moving and "parametrizations" not in n}
    assert all(torch.equal(whole.state_dict()[n], before.state_dict()[n]) for n in frozen)
    written = checkpoint.save

    def stop_after_save(*args, **kwargs):
        written(*args, **kwargs)
        raise Interrupted("cut")

    monkeypatch.setattr(checkpoint, "save", stop_after_save)
    for _ in range(5):
        try:
            cut = run(twin(), [stage(cls())], tmp_path / "cut", resume=True, **how)
            break
        except Interrupted:
            continue
    assert same(cut, whole)


@every_tuner
def test_a_tower_that_cannot_says_so(cls):
    model = twin()
    model.towers["image"] = Wrapped(torch.nn.Flatten(), 24, name="a foreign encoder")
    before = [p.requires_grad for p in model.parameters()]
    field = {"tower": "sound"} if hasattr(cls(), "tower") else {"towers": ("image",)}
    with pytest.raises(ValueError, match="tower"):
        cls(**field).attach(model)
    assert [p.requires_grad for p in model.parameters()] == before
    with pytest.raises(ValueError, match="no 'sound' tower"):
        cls(**({"tower": "sound"} if hasattr(cls(), "tower") else {"towers": ("sound",)})).attach(twin())


def test_there_are_tuners():
    assert {p.id for p in TUNERS} >= {"tune/weights/lora", "tune/weights/singular_values", "tune/weights/select_params"}
