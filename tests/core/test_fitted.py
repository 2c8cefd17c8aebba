"""Fitted objects on disk: read back without this module's help, loaded to the same values, and refused with the reason."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
import torch
from safetensors import safe_open

from pairwright.core import io
from pairwright.core.fitted import Shelf
from pairwright.heads.linear.gda import GDA
from pairwright.heads.linear.logistic import Logistic

SHELF = Shelf("head", "heads", "logits")
NAME = "heads/linear/logistic:Logistic"


def fitted() -> Logistic:
    head = Logistic(l2=0.5)
    head.weight_, head.bias_ = torch.arange(6.0).view(2, 3), torch.tensor([1.0, -torch.inf])
    head.encoder_, head.l2_ = "abc", 0.5
    return head


def test_the_file_holds_settings_as_json_and_learned_values_as_tensors(tmp_path):
    head = fitted()
    head.note = "not learned: no underscore"
    SHELF.save(head, tmp_path / "h.safetensors")
    with safe_open(tmp_path / "h.safetensors", "pt") as f:
        assert {k: f.get_tensor(k).tolist() for k in f.keys()} == {"weight_": [[0, 1, 2], [3, 4, 5]], "bias_": [1, -torch.inf]}  # noqa: SIM118
        words = json.dumps(dict(f.metadata()))
    assert all(w in words for w in (NAME, "max_iter", "abc"))
    assert "underscore" not in words


def test_loading_gives_the_same_object(tmp_path):
    SHELF.save(fitted(), tmp_path / "h.safetensors")
    again = SHELF.load(tmp_path / "h.safetensors")
    assert type(again) is Logistic
    assert (again.l2, again.max_iter, again.encoder_, again.l2_) == (0.5, 100, "abc", 0.5)
    assert torch.equal(again.weight_, fitted().weight_)
    assert torch.equal(again.bias_, fitted().bias_)


def test_names_lead_to_classes_of_the_package_and_back():
    for cls in (Logistic, GDA):
        assert SHELF.resolve(SHELF.name_of(cls)) is cls
    for name in ("heads/linear/logistic:os", "os/path:Join", "heads/../core/io:Path", "heads.linear.logistic:Logistic", "heads/none:None"):
        with pytest.raises(ValueError, match=r"not the name of a head|no head"):
            SHELF.resolve(name)
    with pytest.raises(ValueError, match="is not a head"):
        SHELF.resolve("heads/linear/logistic:Any")


def test_what_cannot_be_written_is_refused(tmp_path):
    head = fitted()
    head.rows_ = [1, 2]
    with pytest.raises(ValueError, match=r"Logistic.rows_ is a list"):
        SHELF.save(head, tmp_path / "h")

    @dataclass
    class Mine:
        def logits(self, z): ...

    with pytest.raises(ValueError, match=r"lives outside of pairwright\.heads"):
        SHELF.save(Mine(), tmp_path / "h")
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_something_else_are_refused(tmp_path):
    path = tmp_path / "h.safetensors"
    write = lambda **more: io.save_tensors(path, {"weight_": torch.ones(1)}, {"kind": "head", "class": NAME, **more})
    write(params={"depth": 3})
    with pytest.raises(ValueError, match=r"no setting 'depth' \(it has l2, max_iter\)"):
        SHELF.load(path)
    write(learned={"fit": "x"})
    with pytest.raises(ValueError, match="'fit' is not the name of a learned value"):
        SHELF.load(path)
    io.save_tensors(path, {}, {"kind": "prompts", "class": NAME})
    with pytest.raises(ValueError, match="prompts"):
        SHELF.load(path)
