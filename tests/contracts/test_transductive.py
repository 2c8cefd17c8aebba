"""Laws of every head that scores unlabelled rows all together (`fit_logits`): see DESIGN, section 5."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from discover import mechanisms

from pairwright.core.features import ClassText, EncoderMismatch, Features
from pairwright.data.world.simulate import simulate
from pairwright.heads.persist import load_head, save_head
from pairwright.heads.zero_shot.classifier import ZeroShot

HEADS = [p for p in mechanisms("heads") if hasattr(p.values[0], "fit_logits")]
SIM = simulate(0, classes=6, shots=1, width=16, test_per_class=4, val_per_class=1, pool_per_class=10)
every_head = pytest.mark.parametrize("cls", HEADS)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-3)


@every_head
def test_strength_zero_is_zero_shot_and_the_default_is_not(cls):
    if cls.neutral is None:
        pytest.skip("declares no zero-shot limit")
    expected = ZeroShot().fit(None, SIM.text).logits(SIM.pool)
    close(cls(**cls.neutral).fit_logits(SIM.pool, SIM.text), expected)
    assert (cls().fit_logits(SIM.pool, SIM.text) - expected).abs().max() > 0.05


@every_head
def test_rows_and_classes_may_come_in_any_order(cls):
    whole = cls().fit_logits(SIM.pool, SIM.text)
    assert whole.shape == (len(SIM.pool), 6)
    order = torch.randperm(len(SIM.pool), generator=torch.Generator().manual_seed(0))
    close(cls().fit_logits(SIM.pool.rows(order), SIM.text), whole[order])
    perm = torch.tensor([2, 0, 5, 1, 4, 3])
    close(cls().fit_logits(SIM.pool, SIM.text.classes(perm)), whole[:, perm])


@every_head
def test_second_fit_equals_a_fresh_one_and_settings_stay(cls):
    head = cls()
    before = dataclasses.asdict(head)
    head.fit_logits(SIM.test, SIM.text)
    assert torch.equal(head.fit_logits(SIM.pool, SIM.text), cls().fit_logits(SIM.pool, SIM.text))
    assert dataclasses.asdict(head) == before


@every_head
def test_few_rows_will_do_and_inputs_are_untouched(cls):
    parts = [SIM.pool.z, SIM.text.W_CD]
    before = [p.clone() for p in parts]
    for n in (0, 1, 2, 3):
        logits = cls().fit_logits(SIM.pool.rows(range(n)), SIM.text)
        assert logits.shape == (n, 6)
        assert torch.isfinite(logits).all()
    assert all(torch.equal(a, b) for a, b in zip(parts, before))


@every_head
def test_bad_input_is_refused_with_the_reason(cls):
    with pytest.raises(ValueError, match="row 3"):
        cls().fit_logits(dataclasses.replace(SIM.pool, z_ND=SIM.pool.z.index_fill(0, torch.tensor([3]), float("nan"))), SIM.text)
    with pytest.raises(EncoderMismatch):
        cls().fit_logits(dataclasses.replace(SIM.pool, encoder="another"), SIM.text)
    with pytest.raises(EncoderMismatch, match="width"):
        cls().fit_logits(Features(torch.ones(2, 15)), SIM.text)
    with pytest.raises(ValueError, match="NaN"):
        cls().fit_logits(SIM.pool, ClassText(SIM.text.W_CD * float("nan"), encoder=SIM.text.encoder))


@every_head
def test_what_was_learnt_scores_new_rows_and_survives_a_file(cls, tmp_path):
    if not hasattr(cls, "logits"):
        pytest.skip("scores only the rows that it has seen")
    with pytest.raises(ValueError, match="not fitted"):
        cls().logits(SIM.test)
    head = cls()
    close(head.fit_logits(SIM.pool, SIM.text), head.logits(SIM.pool))
    save_head(head, tmp_path / "head.safetensors")
    assert torch.equal(load_head(tmp_path / "head.safetensors").logits(SIM.test), head.logits(SIM.test))


def test_there_are_transductive_heads():
    assert {p.id for p in HEADS} >= {"heads/transport/gda_em"}
