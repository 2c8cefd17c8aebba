"""Exported graphs: fp32 parity with torch for any batch, int8 close to it, and the file kept for the next time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pairwright.models.backend import graphs
from pairwright.models.tiny import tiny

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
X = torch.randn(12, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="module")
def tower():
    return tiny(0, width=64, image="vit").towers["image"]


@torch.inference_mode()
def test_fp32_is_torch_within_1e_4_whatever_the_batch(tower, folder: Path) -> None:
    run = graphs.with_onnxruntime(graphs.exported(tower, (32, 32), folder))
    want = tower(X).z_BD
    for rows in (slice(0, 12), slice(3, 4), slice(5, 12)):
        torch.testing.assert_close(run(X[rows]), want[rows], atol=1e-4, rtol=0)
    stamp = (folder / "fp32.onnx").stat().st_mtime_ns
    assert graphs.exported(tower, (32, 32), folder).stat().st_mtime_ns == stamp


@torch.inference_mode()
@pytest.mark.parametrize("make", ["dynamic", "static"])
def test_int8_is_close(tower, folder: Path, make: str) -> None:
    path = graphs.dynamic_int8(tower, (32, 32), folder) if make == "dynamic" else graphs.static_int8(tower, X, folder)
    cosine = (graphs.with_onnxruntime(path)(X) * tower(X).z_BD).sum(-1)
    assert cosine.min() > 0.98
    assert path.stat().st_size < 0.6 * (folder / "fp32.onnx").stat().st_size


@torch.inference_mode()
def test_openvino_fills_the_last_batch(tower, folder: Path) -> None:
    pytest.importorskip("openvino")
    run = graphs.with_openvino(graphs.exported(tower, (32, 32), folder), "f32", 8, (32, 32))
    torch.testing.assert_close(run(X), tower(X).z_BD, atol=1e-4, rtol=0)
