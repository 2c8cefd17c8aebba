"""Laws of every stream head on features (`step(views_AD) -> scores_C`, `reset()`): see DESIGN, section 5."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from discover import mechanisms

from pairwright.core.contracts import StreamHead
from pairwright.core.features import ClassText, EncoderMismatch, Features
from pairwright.core.numerics import generator, unit
from pairwright.data.world.simulate import simulate
from pairwright.heads.stream.views import run
from pairwright.heads.zero_shot.classifier import ZeroShot

HEADS = [p for p in mechanisms("heads/stream") if hasattr(p.values[0], "step")]
SIM = simulate(0, classes=6, width=16, test_per_class=6, shots=1, pool_per_class=1)
VIEWS = unit(SIM.test.z[:, None] + 0.3 * torch.randn(len(SIM.test), 8, 16, generator=generator("views")) / 4)
every_head = pytest.mark.parametrize("cls", HEADS)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-3)


def fit(cls, text=SIM.text, **settings):
    return cls(**settings).fit(None, text)


@every_head
def test_declares_what_it_needs(cls):
    assert dataclasses.is_dataclass(cls)
    assert cls.needs == {"text"}
    assert len(dataclasses.fields(cls)) <= 12
    head = fit(cls)
    assert isinstance(head, StreamHead)
    assert dataclasses.asdict(head) == dataclasses.asdict(cls())
    with pytest.raises(ValueError, match="not fitted"):
        cls().step(SIM.test.z[:1])


@every_head
def test_strength_zero_is_zero_shot_on_the_plain_view(cls):
    if cls.neutral is None:
        pytest.skip("declares no zero-shot limit")
    expected = ZeroShot().fit(None, SIM.text).logits(SIM.test)
    close(run(fit(cls, **cls.neutral), SIM.test.z), expected)
    assert (run(fit(cls), SIM.test.z) - expected).abs().max() > 0.05  # the default does something


@every_head
@pytest.mark.parametrize("images", [SIM.test.z, VIEWS], ids=["one view", "eight views"])
def test_reset_and_refit_are_fresh(cls, images):
    head = fit(cls)
    first = run(head, images)
    assert first.shape == (len(images), 6)
    assert torch.isfinite(first).all()
    head.reset()
    assert torch.equal(run(head, images), first)
    assert torch.equal(run(head.fit(None, SIM.text), images), first)


@every_head
def test_a_stream_may_be_cut_anywhere_and_copies_of_a_head_do_not_meet(cls):
    whole = run(fit(cls), VIEWS)
    head, other = fit(cls), fit(cls)
    parts = [run(head, VIEWS[:7])]
    run(other, VIEWS[20:])
    close(torch.cat([*parts, run(head, VIEWS[7:])]), whole)


@every_head
@pytest.mark.parametrize("images", [SIM.test.z, VIEWS], ids=["one view", "eight views"])
def test_classes_are_equivariant(cls, images):
    perm = torch.tensor([2, 0, 5, 1, 4, 3])
    close(run(fit(cls, SIM.text.classes(perm)), images), run(fit(cls), images)[:, perm])


@every_head
def test_the_further_views_may_come_in_any_order(cls):
    order = torch.tensor([0, 5, 2, 7, 1, 3, 6, 4])  # the first is the plain image and stays
    close(run(fit(cls), VIEWS[:, order]), run(fit(cls), VIEWS))


@every_head
def test_any_array_will_do_and_inputs_are_untouched(cls):
    before, text = VIEWS.clone(), SIM.text.W_CD.clone()
    expected = run(fit(cls), VIEWS)
    assert torch.equal(VIEWS, before)
    assert torch.equal(SIM.text.W_CD, text)
    close(run(fit(cls), list(3.7 * VIEWS.double().numpy())), expected)
    head = fit(cls)
    close(torch.stack([head.step(Features(v, encoder=SIM.text.encoder)) for v in VIEWS]), expected)


@every_head
def test_bad_input_is_refused_with_the_reason_and_leaves_no_trace(cls):
    head, clean = fit(cls), fit(cls)
    bad = SIM.test.z[:4].clone()
    bad[3, 2] = float("nan")
    for wrong, error, match in (
        (bad, ValueError, "row 3"),
        (torch.ones(2, 15), ValueError, "width"),
        (torch.ones(16), ValueError, "width"),
        (torch.ones(0, 16), ValueError, "without a view"),
        (Features(SIM.test.z[:1], encoder="another"), EncoderMismatch, "different encoders"),
    ):
        with pytest.raises(error, match=match):
            head.step(wrong)
    assert torch.equal(head.step(VIEWS[0]), clean.step(VIEWS[0]))
    with pytest.raises(ValueError, match="needs class text"):
        cls().fit(None, None)
    with pytest.raises(ValueError, match="NaN"):
        fit(cls, ClassText(SIM.text.W_CD * np.nan))


def test_there_are_stream_heads():
    assert {p.id for p in HEADS} >= {"heads/stream/dynamic_cache", "heads/stream/zero_temperature"}
