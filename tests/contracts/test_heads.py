"""Laws of every head on cached features: see DESIGN, section 5. `neutral` names the settings at which a head is zero-shot, or is None."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from discover import mechanisms

from pairwright.core.features import ClassText, EncoderMismatch, Features
from pairwright.data.world.simulate import simulate
from pairwright.heads.persist import load_head, save_head
from pairwright.heads.zero_shot.classifier import ZeroShot

HEADS = [p for p in mechanisms("heads") if hasattr(p.values[0], "fit") and hasattr(p.values[0], "logits")]
SIM = simulate(0, classes=6, shots=5, width=16, test_per_class=4, val_per_class=3)
every_head = pytest.mark.parametrize("cls", HEADS)


def fit(head, train=SIM.train, text=SIM.text, val=None):
    return head.fit(train if "train" in head.needs else None, text, val=val)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-3)


def with_shots(per_class: list[int]) -> Features:
    """The training rows cut to so many of each class."""
    y = SIM.train.y
    keep = torch.cat([(y == c).nonzero().squeeze(1)[:n] for c, n in enumerate(per_class)])
    return SIM.train.rows(keep.sort().values)


@every_head
def test_declares_what_it_needs(cls):
    assert dataclasses.is_dataclass(cls)
    assert {n for n in cls.needs if not n.startswith("side.")} <= {"train", "text", "tokens", "grades"}
    assert cls.needs & {"train", "text"}
    names = {f.name for f in dataclasses.fields(cls)}
    assert cls.neutral is None or set(cls.neutral) <= names
    assert len(names) <= 12


@every_head
def test_init_stores_and_fit_learns(cls):
    head = cls()
    before = dataclasses.asdict(head)
    assert not [n for n in vars(head) if n.endswith("_")]
    with pytest.raises(ValueError, match="not fitted"):
        head.logits(SIM.test)
    assert fit(head, val=SIM.val) is head
    assert dataclasses.asdict(head) == before
    assert [n for n in vars(head) if n.endswith("_")]
    assert head.logits(SIM.test).shape == (len(SIM.test), 6)


@every_head
def test_strength_zero_and_no_shots_are_zero_shot(cls):
    if cls.neutral is None:
        pytest.skip("declares no zero-shot limit")
    expected = ZeroShot().fit(None, SIM.text).logits(SIM.test)
    close(fit(cls(**cls.neutral)).logits(SIM.test), expected)
    if "train" in cls.needs:
        close(fit(cls(), SIM.train.rows([])).logits(SIM.test), expected)
        assert (fit(cls()).logits(SIM.test) - expected).abs().max() > 0.05  # the default does something


@every_head
def test_order_of_training_rows_is_irrelevant(cls):
    order = torch.randperm(len(SIM.train), generator=torch.Generator().manual_seed(0))
    close(fit(cls(), SIM.train.rows(order)).logits(SIM.test), fit(cls()).logits(SIM.test))


@every_head
@pytest.mark.parametrize("tuned", [False, True], ids=["default", "val"])
def test_classes_are_equivariant(cls, tuned):
    perm = torch.tensor([2, 0, 5, 1, 4, 3])  # new class i is old class perm[i]
    relabel = lambda f: dataclasses.replace(f, y_N=torch.argsort(perm)[f.y])
    val = SIM.val if tuned else None
    old = fit(cls(), val=val).logits(SIM.test)
    new = fit(cls(), relabel(SIM.train), SIM.text.classes(perm), val=relabel(val) if tuned else None).logits(SIM.test)
    close(new, old[:, perm])


@every_head
def test_second_fit_equals_a_fresh_one(cls):
    other = simulate(1, classes=4, shots=3, width=16)
    again = fit(cls(), val=SIM.val)
    again = fit(again, other.train, other.text)
    fresh = fit(cls(), other.train, other.text)
    assert torch.equal(again.logits(other.test), fresh.logits(other.test))
    assert set(vars(again)) == set(vars(fresh))


@every_head
def test_save_and_load_are_exact(cls, tmp_path):
    head = fit(cls(), val=SIM.val)
    save_head(head, tmp_path / "head.safetensors")
    back = load_head(tmp_path / "head.safetensors")
    assert type(back) is cls
    assert vars(back).keys() == vars(head).keys()
    for name, value in vars(head).items():
        assert not isinstance(value, torch.Tensor) or value.is_contiguous(), (
            f"{name}: files hold contiguous tensors, and products of others round differently"
        )
        same = (
            torch.equal(value, vars(back)[name]) and value.dtype == vars(back)[name].dtype
            if isinstance(value, torch.Tensor)
            else value == vars(back)[name]
        )
        assert same, name
    assert torch.equal(back.logits(SIM.test), head.logits(SIM.test))


@every_head
def test_inputs_are_untouched(cls):
    parts = [SIM.train.z, SIM.train.y, SIM.text.W_CD, SIM.text.prompts_CPD, SIM.val.z, SIM.test.z]
    before = [p.clone() for p in parts]
    fit(cls(), val=SIM.val).logits(SIM.test)
    assert all(torch.equal(a, b) for a, b in zip(parts, before))


@every_head
def test_rows_do_not_see_each_other_and_any_array_will_do(cls):
    head = fit(cls())
    whole = head.logits(SIM.test)
    close(torch.cat([head.logits(SIM.test.rows([i])) for i in range(5)]), whole[:5])
    close(head.logits(SIM.test.z), whole)
    close(head.logits(SIM.test.z.double().numpy()), whole)
    close(head.logits(np.asfortranarray(3.7 * SIM.test.z.numpy())), whole)  # plain arrays are normalised
    assert head.logits(SIM.test.rows([])).shape == (0, 6)


@every_head
@pytest.mark.parametrize(
    "shots", [[1] * 6, [5, 0, 2, 0, 0, 1], [0, 0, 3, 0, 0, 0], [1, 0, 0, 0, 0, 0]], ids=["one each", "gaps", "one class", "one row"]
)
def test_odd_label_sets(cls, shots):
    logits = fit(cls(), with_shots(shots)).logits(SIM.test)
    assert logits.shape == (len(SIM.test), 6)
    assert not torch.isnan(logits).any()
    assert (logits < torch.inf).all()
    assert torch.isfinite(logits[:, [c for c in range(6) if shots[c]]]).all()


@every_head
def test_bad_input_is_refused_with_the_reason(cls):
    head = fit(cls())
    bad = SIM.test.z.clone()
    bad[3, 2] = float("nan")
    with pytest.raises(ValueError, match="row 3"):
        head.logits(bad)
    with pytest.raises(EncoderMismatch):
        head.logits(Features(SIM.test.z, encoder="another"))
    with pytest.raises(ValueError, match="width"):
        head.logits(torch.ones(2, 15))
    with pytest.raises(ValueError, match="width"):
        head.logits(torch.ones(16))
    if "train" in cls.needs:
        with pytest.raises(EncoderMismatch):
            fit(cls(), dataclasses.replace(SIM.train, encoder="another"))
        with pytest.raises(ValueError, match="label 6"):
            fit(cls(), dataclasses.replace(SIM.train, y_N=SIM.train.y + 1))
        with pytest.raises(ValueError, match="label -1"):
            fit(cls(), dataclasses.replace(SIM.train, y_N=SIM.train.y - 1))
        with pytest.raises(ValueError, match="needs labels"):
            fit(cls(), dataclasses.replace(SIM.train, y_N=None))
        if not getattr(cls, "multi_hot", False):
            with pytest.raises(ValueError, match="one class per row"):
                fit(cls(), dataclasses.replace(SIM.train, y_N=torch.ones(len(SIM.train), 6, dtype=torch.int64)))
        with pytest.raises(ValueError, match="row 1"):
            fit(cls(), dataclasses.replace(SIM.train, z_ND=SIM.train.z.index_fill(0, torch.tensor([1]), float("inf"))))
        with pytest.raises(ValueError, match="labelled features"):
            cls().fit(None, SIM.text)
    if "text" in cls.needs:
        with pytest.raises(ValueError, match="needs class text"):
            cls().fit(SIM.train, None)
        with pytest.raises(ValueError, match="NaN"):
            fit(
                cls(),
                text=ClassText(SIM.text.W_CD * float("nan"), prompts_CPD=SIM.text.prompts_CPD * float("nan"), encoder=SIM.text.encoder),
            )


def test_there_are_heads():
    assert {p.id for p in HEADS} >= {"heads/cache/tip_adapter", "heads/linear/gda", "heads/linear/logistic", "heads/zero_shot/classifier"}
