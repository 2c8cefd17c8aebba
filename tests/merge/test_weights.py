"""The engine under all mergers: what it refuses, the two passes, and files of other kinds."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from pairwright.merge.interpolate import Interpolate
from pairwright.merge.weights import merge_files, merge_states

BASE = {"z": torch.ones(2, 3), "a": torch.zeros(4, dtype=torch.float16)}


class LargestFirst:
    """Scales each tensor by the largest norm of all of them: needs a look at everything first."""

    def scan(self, name, base, tuned_S):
        return max(float(t.double().norm()) for t in (base, *tuned_S))

    def merge(self, name, base, tuned_S, *, stats, state):
        return base / max(stats.values()), (state or 0) + 1


def test_models_that_do_not_fit_are_refused_with_the_difference():
    for other, words in (
        ({"z": BASE["z"]}, r"lacks 'a' \(1 in all\)"),
        ({**BASE, "extra": BASE["a"]}, "adds 'extra'"),
        ({**BASE, "z": torch.ones(3, 2)}, r"'z' has the shape \(3, 2\) there and \(2, 3\) here"),
    ):
        with pytest.raises(ValueError, match=words):
            merge_states(Interpolate(), BASE, [other])
    with pytest.raises(ValueError, match="nothing to merge"):
        merge_states(Interpolate(), BASE, [])


def test_a_scan_sees_every_tensor_before_the_first_is_merged():
    tuned = {"z": 2 * torch.ones(2, 3), "a": torch.full((4,), 50.0)}
    made = merge_states(LargestFirst(), BASE, [tuned])
    torch.testing.assert_close(made["z"], torch.ones(2, 3) / 100)


def test_a_merger_that_changes_a_shape_is_caught():
    class Flat:
        def merge(self, name, base, tuned_S, *, stats, state):
            return base.flatten(), state

    with pytest.raises(ValueError, match="changed the shape of 'z'"):
        merge_states(Flat(), BASE, [BASE])


def test_files_are_safetensors_with_a_header_that_others_read(tmp_path):
    save_file(BASE, tmp_path / "base.safetensors")
    torch.save({"state_dict": {f"module.{k}": 3 * v.float() for k, v in BASE.items()}}, tmp_path / "tuned.pt")
    out = merge_files(Interpolate(0.5), tmp_path / "base.safetensors", [tmp_path / "tuned.pt"], tmp_path / "out.safetensors")
    made = load_file(out)
    assert torch.equal(made["z"], 2 * torch.ones(2, 3))
    assert made["a"].dtype == torch.float16
    head = out.read_bytes()
    size = int.from_bytes(head[:8], "little")
    assert size % 8 == 0
    assert "Interpolate(alpha=0.5)" in json.loads(head[8 : 8 + size])["__metadata__"]["pairwright"]


def test_a_failure_in_the_middle_leaves_no_file(tmp_path):
    save_file(BASE, tmp_path / "base.safetensors")

    class Breaks:
        def merge(self, name, base, tuned_S, *, stats, state):
            if state:
                raise RuntimeError("cut")
            return base, True

    with pytest.raises(RuntimeError):
        merge_files(Breaks(), tmp_path / "base.safetensors", [tmp_path / "base.safetensors"], tmp_path / "out.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["base.safetensors"]
    with pytest.raises(ValueError, match=r"name it out\.safetensors"):
        merge_files(Interpolate(), tmp_path / "base.safetensors", [tmp_path / "base.safetensors"], tmp_path / "out.pt")
    with pytest.raises(FileNotFoundError, match="none"):
        merge_files(Interpolate(), tmp_path / "base.safetensors", [tmp_path / "none.safetensors"], tmp_path / "out.safetensors")
