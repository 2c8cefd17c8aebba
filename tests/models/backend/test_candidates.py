"""Which backends there are with and without the optional libraries, and what the errors tell to install."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from pairwright.models.backend import candidates as module
from pairwright.models.backend.candidates import TABLE, candidates
from pairwright.models.embed import embed
from pairwright.models.tiny import tiny

CPU = torch.device("cpu")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the optional libraries."""
    real = importlib.util.find_spec
    hidden = {"onnx", "onnxruntime", "openvino"}
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name, *a: None if name in hidden else real(name, *a))


def test_names_are_unique_and_the_reference_comes_first() -> None:
    assert len({c.name for c in TABLE}) == len(TABLE)
    assert TABLE[0].name == "torch-fp32"
    assert {c.device for c in TABLE} <= {"", "cpu", "cuda"}


def test_without_the_libraries_the_list_shrinks(bare: None) -> None:
    names = [c.name for c in candidates("auto", CPU)]
    assert names[:2] == ["torch-fp32", "torch-bf16"]
    assert not [n for n in names if n.startswith(("onnx", "openvino"))]


def test_int8_without_the_libraries_says_what_to_install(bare: None) -> None:
    with pytest.raises(ValueError, match=r"int8 needs onnx, onnxruntime, openvino, not installed here: pip install 'pairwright\[fast\]'"):
        candidates("int8", CPU)
    with pytest.raises(ValueError, match=r"pairwright\[fast\]"):
        embed(tiny(0, width=16), images=[torch.zeros(8, 8, 3, dtype=torch.uint8).numpy()], precision="int8")


def test_int8_on_a_gpu_is_refused() -> None:
    with pytest.raises(ValueError, match="int8 cannot be run on cuda"):
        candidates("int8", torch.device("cuda"))


def test_what_has_to_be_asked_for_is_not_tried_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name, *a: object())
    auto, int8 = ({c.name for c in candidates(p, CPU)} for p in ("auto", "int8"))
    assert int8 - auto == {"onnxruntime-int8-static", "openvino-int8-static"}
    assert "onnxruntime-int8" in auto & int8
    assert all(c.precision == "bf16" for c in candidates("bf16", CPU))
