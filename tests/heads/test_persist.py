"""Saved heads: what is refused. The exact round trip of every head is a contract test."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from pairwright.core import io
from pairwright.data.world.simulate import simulate
from pairwright.heads.persist import load_head, save_head
from pairwright.heads.zero_shot.classifier import ZeroShot

SIM = simulate(0, classes=4, shots=2, width=8)


@dataclass
class Foreign:
    strength: float = 1.0

    def logits(self, z_ND):
        return z_ND


def meta(**more):
    return {"kind": "head", "class": "heads/zero_shot/classifier:ZeroShot", "params": {}, "learned": {}, **more}


def test_only_heads_of_the_package_are_saved(tmp_path):
    with pytest.raises(ValueError, match=r"outside of pairwright\.heads"):
        save_head(Foreign(), tmp_path / "x")
    head = ZeroShot().fit(None, SIM.text)
    head.extra_ = object()
    with pytest.raises(ValueError, match="extra_ is a object"):
        save_head(head, tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "name",
    [
        "os:System",
        "heads/../core/io:Path",
        "heads/zero_shot/classifier:Any",
        "heads/zero_shot/nothing:ZeroShot",
        "heads/persist:Path",
        "models/dual:DualEncoder",
        "None",
        "",
    ],
)
def test_files_naming_anything_else_are_refused(tmp_path, name):
    io.save_tensors(tmp_path / "x", {"text_": torch.ones(1)}, meta(**{"class": name}))
    with pytest.raises(ValueError, match="head"):
        load_head(tmp_path / "x")


def test_files_of_another_kind_or_version_are_refused(tmp_path):
    SIM.train.save(tmp_path / "features")
    with pytest.raises(ValueError, match="holds 'features', expected 'head'"):
        load_head(tmp_path / "features")
    io.save_tensors(tmp_path / "newer", {}, meta(params={"colour": 1}))
    with pytest.raises(ValueError, match="no setting 'colour'"):
        load_head(tmp_path / "newer")
    for name in ("fit", "__class__", "logits"):
        io.save_tensors(tmp_path / "odd", {}, meta(learned={name: 1}))
        with pytest.raises(ValueError, match="not the name of a learned value"):
            load_head(tmp_path / "odd")
    torch.save({"a": torch.ones(1)}, tmp_path / "pickle")
    with pytest.raises(ValueError, match="pickle"):
        load_head(tmp_path / "pickle")


def test_a_saved_head_does_not_share_memory_with_its_text(tmp_path):
    head = ZeroShot().fit(None, SIM.text)
    save_head(head, tmp_path / "h")
    before = head.logits(SIM.test)
    loaded = load_head(tmp_path / "h")
    head.text_.data = torch.zeros_like(head.text_)
    assert torch.equal(loaded.logits(SIM.test), before)
