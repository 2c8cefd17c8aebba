"""--precision: auto by default, what computed the rows is told and kept, and a missing library is named."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import pairwright as pw


def test_the_precision_is_told_and_kept(run, pictures: Path, model_name: str, tmp_path: Path) -> None:
    rows = {}
    for precision in ("auto", "fp32", "bf16"):
        out = tmp_path / f"{precision}.safetensors"
        ran = run("embed", pictures, "--out", out, "--model", model_name, "--precision", precision, "--json")
        assert ran.code == 0, ran.err
        rows[precision] = pw.Features.load(out)
        assert rows[precision].precision == ran.json["precision"]
        assert rows[precision].encoder == ran.json["encoder"]
    assert [rows[p].precision for p in ("auto", "fp32")] == ["torch-fp32"] * 2  # three pictures are not worth a choice
    assert rows["bf16"].precision.startswith("torch-bf16")
    assert (rows["bf16"].z * rows["fp32"].z).sum(1).min() > 0.99


@pytest.mark.parametrize("words", [("search", "{P}", "a red circle"), ("classify", "{P}", "--labels", "red,blue")])
def test_search_and_classify_take_it_too(run, pictures: Path, model_name: str, words: tuple[str, ...]) -> None:
    words = tuple(w.replace("{P}", str(pictures)) for w in words)
    a, b = (run(*words, "--model", model_name, "--precision", p, "--json") for p in ("fp32", "bf16"))
    assert a.code == b.code == 0, a.err + b.err
    key = "hits" if words[0] == "search" else "answers"
    assert sorted(x["path"] for x in a.json[key]) == sorted(x["path"] for x in b.json[key])


def test_int8_without_its_libraries_says_what_to_install(run, pictures: Path, model_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name in ("onnx", "onnxruntime", "openvino") else real(name, *a)
    )
    ran = run("embed", pictures, "--out", "x.safetensors", "--model", model_name, "--precision", "int8")
    assert ran.code != 0
    assert "pip install 'pairwright[fast]'" in ran.err
    assert "Traceback" not in ran.err
